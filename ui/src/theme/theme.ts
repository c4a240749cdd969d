import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";
import { sides, tones } from "./tokens";

const accent: MantineColorsTuple = [
  "#e7f2fd",
  "#d0e4f9",
  "#a3c9f1",
  "#73acea",
  "#4b93e3",
  "#3182dd",
  "#2077d2",
  "#1864ab",
  "#145690",
  "#0f4675",
];

/** For what takes something back: white on its shade has 6:1. */
const danger: MantineColorsTuple = [
  "#fdecec",
  "#f8d4d4",
  "#f0a8a8",
  "#e67b7b",
  "#dc5656",
  "#d03f3f",
  "#c23131",
  "#b02525",
  "#951f1f",
  "#7a1919",
];

/** Mantine's dark greys are neutral; ours lean to blue like our surfaces, and text on them is brighter. */
const dark: MantineColorsTuple = [
  "#e3e6e9",
  "#c5cad0",
  "#a6adb4",
  "#727a82",
  "#434a52",
  "#3a4148",
  "#2a2f35",
  "#1d2125",
  "#181b1f",
  "#14171a",
];

export const theme = createTheme({
  colors: { accent, danger, dark },
  primaryColor: "accent",
  primaryShade: { light: 7, dark: 7 },
  autoContrast: true,
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'Cascadia Code', 'DejaVu Sans Mono', monospace",
  fontSizes: { xs: "12px", sm: "13px", md: "14px", lg: "16px", xl: "20px" },
  headings: { sizes: { h1: { fontSize: "22px" }, h2: { fontSize: "16px" }, h3: { fontSize: "14px" } } },
  components: {
    CloseButton: { defaultProps: { "aria-label": "Close" } },
    // Why a button cannot be pressed is for everybody, also without a mouse.
    Tooltip: { defaultProps: { events: { hover: true, focus: true, touch: true } } },
    Table: { defaultProps: { verticalSpacing: "sm" } },
  },
});

/** Mantine's own dimmed text, placeholders, errors and links are too faint for 4.5:1. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: variables("light", {
    "--mantine-color-dimmed": "#5c636a",
    "--mantine-color-placeholder": "#6b7278",
    "--mantine-color-error": tones.bad.light,
    "--mantine-color-anchor": "#1864ab",
    "--mantine-color-body": "var(--ground)",
    "--surface": "#ffffff",
    "--surface-sunken": "#eef1f4",
    "--line": "#dde2e7",
  }),
  dark: variables("dark", {
    "--mantine-color-dimmed": "#a6adb4",
    "--mantine-color-placeholder": "#949ba2",
    "--mantine-color-error": tones.bad.dark,
    "--mantine-color-anchor": "#74c0fc",
    "--mantine-color-body": "var(--ground)",
    "--surface": "#1d2125",
    "--surface-sunken": "#262b30",
    "--line": "#343a40",
  }),
});

function variables(scheme: "light" | "dark", rest: Record<string, string>): Record<string, string> {
  const found: Record<string, string> = { ...rest };
  for (const [name, pair] of Object.entries({ ...tones, ...sides })) {
    found[`--tone-${name}`] = pair[scheme];
  }
  return found;
}
