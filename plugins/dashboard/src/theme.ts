/** The look of the page of its own: the host's names of colours, so that all parts say the same. */

import { createSystem, defaultBaseConfig, defineConfig } from "@chakra-ui/react";
import { defaultThemeConfig } from "@chakra-ui/react/theme";

// Family in Airflow's theme -> shades of our own palette (Chakra's, and greys with a hue).
const FAMILIES: Record<string, string> = {
  brand: "blue",
  danger: "red",
  info: "blue",
  warning: "amber",
  active: "blue",
  success: "green",
  failed: "red",
  queued: "stone",
  up_for_retry: "yellow",
  upstream_failed: "orange",
  running: "cyan",
  deferred: "purple",
  scheduled: "zinc",
  none: "gray",
  removed: "slate",
};

const SHADES = ["50", "100", "200", "300", "400", "500", "600", "700", "800", "900", "950"];

function palette(colours: string[]) {
  return Object.fromEntries(SHADES.map((shade, at) => [shade, { value: colours[at] ?? "" }]));
}

function family(of: string) {
  const shade = (light: string, dark: string) => ({
    value: { _light: `{colors.${of}.${light}}`, _dark: `{colors.${of}.${dark}}` },
  });
  return {
    solid: shade("600", "500"),
    // White, not shade 50: red 600 needs it for 4.5:1.
    contrast: { value: { _light: "{colors.white}", _dark: `{colors.${of}.950}` } },
    fg: shade("800", "200"),
    muted: shade("200", "800"),
    subtle: shade("100", "900"),
    emphasized: shade("300", "700"),
    focusRing: shade("500", "400"),
  };
}

const config = defineConfig({
  theme: {
    tokens: {
      colors: {
        amber: palette(
          "#fffbeb #fef3c7 #fde68a #fcd34d #fbbf24 #f59e0b #d97706 #b45309 #92400e #78350f #451a03".split(
            " ",
          ),
        ),
        stone: palette(
          "#fafaf9 #f5f5f4 #e7e5e4 #d6d3d1 #a8a29e #78716c #57534e #44403c #292524 #1c1917 #0c0a09".split(
            " ",
          ),
        ),
        zinc: palette(
          "#fafafa #f4f4f5 #e4e4e7 #d4d4d8 #a1a1aa #71717a #52525b #3f3f46 #27272a #18181b #09090b".split(
            " ",
          ),
        ),
        slate: palette(
          "#f8fafc #f1f5f9 #e2e8f0 #cbd5e1 #94a3b8 #64748b #475569 #334155 #1e293b #0f172a #020617".split(
            " ",
          ),
        ),
      },
    },
    semanticTokens: {
      colors: {
        ...Object.fromEntries(Object.entries(FAMILIES).map(([name, of]) => [name, family(of)])),
        // The default, red 500, has 3.8:1 on white.
        fg: { error: { value: { _light: "{colors.red.700}", _dark: "{colors.red.300}" } } },
      },
    },
  },
  globalCss: { "html, body": { minHeight: "100%" } },
});

// Not from `defaultConfig`: with it comes Chakra's own system, which takes as long again to make.
export const system = createSystem(defaultBaseConfig, defaultThemeConfig, config);
