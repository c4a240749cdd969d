/** The only place with colours. Each pair was chosen for a contrast of at least 4.5:1 on its ground; status is never told by colour alone. */
export const tones = {
  good: { light: "#237032", dark: "#69db7c" },
  warn: { light: "#8a5300", dark: "#ffc078" },
  bad: { light: "#b02525", dark: "#ff8787" },
  busy: { light: "#1864ab", dark: "#74c0fc" },
  quiet: { light: "#5c636a", dark: "#a6adb4" },
} as const;

export type Tone = keyof typeof tones;

/** The two sides of a deployment: today's version and the new one. They differ by pattern and label as well. */
export const sides = {
  blue: { light: "#1864ab", dark: "#74c0fc" },
  green: { light: "#237032", dark: "#69db7c" },
} as const;
