import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// What Airflow's own pages give to plugins; a second copy of them would know nothing of its theme.
const hostGlobals = {
  react: "React",
  "react-dom": "ReactDOM",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
  "@emotion/react": "EmotionReact",
};

// One code base, two homes: a bundle for Airflow's pages, and a page of its own.
export default defineConfig(({ mode, command }) => ({
  plugins: [react()],
  // The page's own <base> says where it lies; only the development server needs to know beforehand.
  base: command === "serve" ? "/services/ee2/dashboard/" : "./",
  define: mode === "airflow" ? { "process.env.NODE_ENV": JSON.stringify("production") } : {},
  build:
    mode === "airflow"
      ? {
          outDir: "dist/airflow",
          lib: {
            entry: "src/airflow.tsx",
            name: "Ee2Jobs",
            formats: ["umd"],
            fileName: () => "ee2-jobs.umd.js",
          },
          rollupOptions: {
            external: Object.keys(hostGlobals),
            output: { globals: hostGlobals, exports: "default", inlineDynamicImports: true },
          },
        }
      : { outDir: "dist/alone", chunkSizeWarningLimit: 900 },
  server: {
    proxy: Object.fromEntries(
      [
        "/services/ee2/api",
        "/services/ee2/dashboard/api",
        "/services/ee2/artifacts",
        "/services/ee2/dashboard/artifacts",
      ].map((path) => [path, { target: process.env.EE2_ORIGIN ?? "http://127.0.0.1:8080" }]),
    ),
  },
  test: {
    environment: "jsdom",
    setupFiles: ["test/setup.ts"],
    include: ["test/**/*.test.{ts,tsx}"],
  },
}));
