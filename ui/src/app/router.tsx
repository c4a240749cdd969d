/** Every address of the page. What is looked at is in the address: tab, filters, open dialog. */
import { Stack, Text, Title } from "@mantine/core";
import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { AnchorLink } from "../components/links";
import { Dashboard } from "../features/dashboard/dashboard";
import { STEPS, type Step } from "../features/upgrade/draft";
import { DEPLOYMENT_STATES, type DeploymentState, SETTINGS, type Setting } from "./search";
import { Shell } from "./shell";

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const TABS = ["overview", "versions", "deployments", "staging", "config", "audit"] as const;
const SHAPES = ["form", "json", "yaml"] as const;
export type Tab = (typeof TABS)[number];

export interface AuditSearch {
  agent?: string;
  type?: string;
  operator?: string;
  status?: string;
}

const text = (value: unknown): string | undefined => (typeof value === "string" && value ? value : undefined);

const dashboard = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: Dashboard,
  validateSearch: (found: Record<string, unknown>): { rollback?: string } => ({ rollback: text(found.rollback) }),
});
const fleet = createRoute({
  getParentRoute: () => root,
  path: "/agents",
  component: lazyRouteComponent(() => import("../features/dashboard/fleet"), "Fleet"),
  validateSearch: (found: Record<string, unknown>): { q?: string; rollback?: string } => ({
    q: text(found.q),
    rollback: text(found.rollback),
  }),
});
const agent = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId",
  component: lazyRouteComponent(() => import("../features/agent/agent"), "Agent"),
  validateSearch: (found: Record<string, unknown>): { tab?: Tab; rollback?: string } => ({
    tab: TABS.find((tab) => tab === found.tab),
    rollback: text(found.rollback),
  }),
});
const deployment = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId/deployments/$upgradeId",
  component: lazyRouteComponent(() => import("../features/deployment/monitor"), "Monitor"),
  validateSearch: (found: Record<string, unknown>): { rollback?: string } => ({ rollback: text(found.rollback) }),
});
const upgrade = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId/upgrade",
  component: lazyRouteComponent(() => import("../features/upgrade/wizard"), "Wizard"),
  validateSearch: (found: Record<string, unknown>): { version?: string; step?: Step; run?: string } => ({
    version: text(found.version),
    step: STEPS.find((step) => step === found.step),
    run: text(found.run),
  }),
});
const hotPatch = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId/hot-patch",
  component: lazyRouteComponent(() => import("../features/hot-patch/hot-patch"), "HotPatch"),
  validateSearch: (found: Record<string, unknown>): { as?: (typeof SHAPES)[number] } => ({
    as: SHAPES.find((shape) => shape === found.as),
  }),
});
const compare = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId/compare",
  component: lazyRouteComponent(() => import("../features/agent/compare"), "Compare"),
  validateSearch: (found: Record<string, unknown>): { from?: string; to?: string } => ({
    from: text(found.from),
    to: text(found.to),
  }),
});
const staging = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId/staging/$runId",
  component: lazyRouteComponent(() => import("../features/staging/report"), "Report"),
});
const deployments = createRoute({
  getParentRoute: () => root,
  path: "/deployments",
  component: lazyRouteComponent(() => import("../features/schedule/deployments"), "AllDeployments"),
  validateSearch: (found: Record<string, unknown>): { state?: DeploymentState; agent?: string } => ({
    state: DEPLOYMENT_STATES.find((state) => state === found.state),
    agent: text(found.agent),
  }),
});
const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings",
  component: lazyRouteComponent(() => import("../features/settings/settings"), "Settings"),
  validateSearch: (found: Record<string, unknown>): { part?: Setting } => ({
    part: SETTINGS.find((part) => part === found.part),
  }),
});
const audit = createRoute({
  getParentRoute: () => root,
  path: "/audit",
  component: lazyRouteComponent(() => import("../features/audit/audit"), "Audit"),
  validateSearch: (found: Record<string, unknown>): AuditSearch => ({
    agent: text(found.agent),
    type: text(found.type),
    operator: text(found.operator),
    status: text(found.status),
  }),
});

const routes = root.addChildren([
  dashboard,
  fleet,
  agent,
  deployment,
  upgrade,
  hotPatch,
  compare,
  staging,
  deployments,
  settings,
  audit,
]);

export const router = createRouter({ routeTree: routes, defaultPreload: "intent" });

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

function NotFound() {
  return (
    <Stack gap="xs">
      <Title order={1}>There is no such page</Title>
      <Text>
        Go to the <AnchorLink to="/">dashboard</AnchorLink> or to the <AnchorLink to="/agents">agents</AnchorLink>.
      </Text>
    </Stack>
  );
}
