import { Box, Button, Field, Heading, Input, Stack, Text } from "@chakra-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { call, said } from "../app/api";
import { useHome } from "../app/home";
import { Notice } from "./Notice";

/** Signing in with a token; the server keeps it in a cookie that no script can read. */
export function SignIn() {
  const { api } = useHome();
  const client = useQueryClient();
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const go = async () => {
    setBusy(true);
    setError(null);
    try {
      await call(`${api}/session`, { method: "POST", body: { token: token.trim() } });
      setToken("");
      await client.invalidateQueries();
    } catch (problem) {
      setError(said(problem));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Box as="main" maxWidth="md" mx="auto" mt="16" p="6">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <Stack gap="4">
          <Heading as="h1" size="xl">
            EE2 jobs
          </Heading>
          <Text color="fg.muted">
            Sign in with your KBase token, or a token of this service, to see your jobs.
          </Text>
          <Field.Root required>
            <Field.Label>Token</Field.Label>
            <Input
              type="password"
              autoComplete="current-password"
              value={token}
              onChange={(event) => setToken(event.target.value)}
            />
          </Field.Root>
          {error && (
            <Notice kind="error" title="You are not signed in">
              {error}
            </Notice>
          )}
          <Button type="submit" colorPalette="brand" loading={busy} disabled={!token.trim()}>
            Sign in
          </Button>
        </Stack>
      </form>
    </Box>
  );
}
