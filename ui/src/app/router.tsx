/** Every address of the page. What is looked at is in the address: tab, filters, open dialog. */
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  notFound,
  redirect,
} from "@tanstack/react-router";
import { Broken } from "../components/boundary";
import { Refused } from "../components/refused";
import type { AuditSearch } from "../features/audit/filters";
import { Dashboard } from "../features/dashboard/dashboard";
import { STEPS, type Step } from "../features/upgrade/draft";
import {
  AGENT_ORDERS,
  DEPLOYMENT_STATES,
  type DeploymentState,
  type FleetSearch,
  SETTINGS,
  type Setting,
} from "./search";
import { Shell } from "./shell";

const root = createRootRoute({ component: Shell, notFoundComponent: () => <Refused /> });

const TABS = ["overview", "versions", "instances", "deployments", "staging", "config", "state", "audit"] as const;
const SHAPES = ["form", "json", "yaml"] as const;
export type Tab = (typeof TABS)[number];

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
  validateSearch: (found: Record<string, unknown>): FleetSearch => ({
    q: text(found.q),
    sort: AGENT_ORDERS.find((order) => order === found.sort),
    attention: found.attention === true ? true : undefined,
    after: text(found.after),
    rollback: text(found.rollback),
  }),
});
const agent = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId",
  component: lazyRouteComponent(() => import("../features/agent/agent"), "Agent"),
  validateSearch: (found: Record<string, unknown>): { tab?: Tab; instance?: string; rollback?: string } => ({
    tab: TABS.find((tab) => tab === found.tab),
    instance: text(found.instance),
    rollback: text(found.rollback),
  }),
});
/** A tab as people write it: /agents/NAME/state. */
const tabbed = createRoute({
  getParentRoute: () => root,
  path: "/agents/$agentId/$tab",
  beforeLoad: ({ params: { agentId, tab: named } }) => {
    const tab = TABS.find((each) => each === named);
    throw tab ? redirect({ to: "/agents/$agentId", params: { agentId }, search: { tab }, replace: true }) : notFound();
  },
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
  validateSearch: (found: Record<string, unknown>): { state?: DeploymentState; agent?: string; after?: string } => ({
    state: DEPLOYMENT_STATES.find((state) => state === found.state),
    agent: text(found.agent),
    after: text(found.after),
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
    says: text(found.says),
    since: text(found.since),
    until: text(found.until),
  }),
});

/** What the server prints: who is signed in has nothing to do there any more. */
const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  beforeLoad: () => {
    throw redirect({ to: "/", replace: true });
  },
});

const routes = root.addChildren([
  dashboard,
  fleet,
  agent,
  tabbed,
  deployment,
  upgrade,
  hotPatch,
  compare,
  staging,
  deployments,
  settings,
  audit,
  signIn,
]);

export const router = createRouter({
  routeTree: routes,
  defaultPreload: "intent",
  defaultErrorComponent: (props) => <Broken {...props} order={1} />,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
