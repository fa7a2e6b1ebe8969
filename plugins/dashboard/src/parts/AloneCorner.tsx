import { Button, HStack } from "@chakra-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { LogOut, Moon, Sun } from "lucide-react";

import { call, said } from "../app/api";
import { setColours, useColours } from "../app/colour";
import { useHome } from "../app/home";
import { say } from "./toasts";

/** Light or dark, and the way out: within Airflow both are the host's. */
export function AloneCorner() {
  const { api } = useHome();
  const client = useQueryClient();
  const dark = useColours() === "dark";
  const leave = async () => {
    try {
      await call(`${api}/session`, { method: "DELETE" });
      client.clear();
      location.reload();
    } catch (problem) {
      say({ kind: "error", title: "You are still signed in", description: said(problem) });
    }
  };
  const theme = dark ? "Light" : "Dark";
  return (
    <HStack gap="1">
      <Button
        size="xs"
        variant="ghost"
        aria-label={theme}
        title={theme}
        onClick={() => setColours(dark ? "light" : "dark")}
      >
        {dark ? <Sun size={16} aria-hidden /> : <Moon size={16} aria-hidden />}
      </Button>
      <Button
        size="xs"
        variant="ghost"
        aria-label="Sign out"
        title="Sign out"
        onClick={() => void leave()}
      >
        <LogOut size={16} aria-hidden />
      </Button>
    </HStack>
  );
}
