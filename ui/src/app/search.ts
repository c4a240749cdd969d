/** What an address may say beyond its path. Apart from the router, so that a screen may read it without bringing all others. */
export const DEPLOYMENT_STATES = ["all", "upcoming", "waiting", "running", "over"] as const;
export type DeploymentState = (typeof DEPLOYMENT_STATES)[number];

/** As the server orders them; by name is how they come. */
export const AGENT_ORDERS = ["health", "update", "deployed"] as const;
export interface FleetSearch {
  q?: string;
  sort?: (typeof AGENT_ORDERS)[number];
  attention?: boolean;
  /** The cursor of the page that is shown. */
  after?: string;
  rollback?: string;
}

export const SETTINGS = [
  "mine",
  "users",
  "tokens",
  "notifications",
  "thresholds",
  "freezes",
  "gates",
  "integrations",
  "secrets",
] as const;
export type Setting = (typeof SETTINGS)[number];
