/** What an address may say beyond its path. Apart from the router, so that a screen may read it without bringing all others. */
export const DEPLOYMENT_STATES = ["all", "upcoming", "waiting", "running", "over"] as const;
export type DeploymentState = (typeof DEPLOYMENT_STATES)[number];

export const SETTINGS = [
  "mine",
  "users",
  "tokens",
  "notifications",
  "freezes",
  "gates",
  "integrations",
  "secrets",
] as const;
export type Setting = (typeof SETTINGS)[number];
