/** What stands around every page: where one can go, whether what is shown is true at this moment, who one is. */
import { ActionIcon, AppShell, Badge, Button, Group, Menu, Text, Tooltip, useMantineColorScheme } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { Link, Outlet, useMatchRoute } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import type { LinkState } from "../api/live";
import { Icon } from "../components/icons";
import { Status } from "../components/status";
import { Bell } from "../features/notifications/bell";
import { Operations } from "../features/operations/operations";
import { Keys } from "../features/palette/keys";
import { duration } from "../lib/format";
import type { Tone } from "../theme/tokens";
import { useSign } from "./attention";
import { useLinkState, useLive } from "./live";
import { useReadOnly, useSession } from "./session";
import { useReplaced } from "./version";

const PLACES = [
  { to: "/", label: "Dashboard", icon: "dashboard" },
  { to: "/agents", label: "Agents", icon: "agents" },
  { to: "/deployments", label: "Deployments", icon: "deployments" },
  { to: "/audit", label: "Audit", icon: "audit" },
  { to: "/settings", label: "Settings", icon: "settings" },
] as const;

const LINKS: Record<LinkState, [Tone, string, string]> = {
  connecting: ["busy", "Connecting", "The first look is on its way."],
  live: ["good", "Live", "What changes is shown within a second."],
  delayed: ["warn", "Delayed", "Nothing was heard for some seconds."],
  reconnecting: ["warn", "Reconnecting", "What you see may be some seconds old."],
  offline: ["bad", "Offline", "The live connection is away; the page asks every five seconds instead."],
};

/** As the kit counts, by the size of text that a reader has set: 640 pixels where it is the usual one. */
const NARROW = "(max-width: 40em)";

export function Shell() {
  useSign();
  const narrow = useMediaQuery(NARROW, window.matchMedia(NARROW).matches);
  return (
    <>
      <a className="skip" href="#main">
        To the content
      </a>
      <AppShell header={{ height: 56 }} navbar={{ width: 200, breakpoint: 640, collapsed: { mobile: true } }}>
        <AppShell.Header>
          <Group h="100%" px={narrow ? "xs" : "md"} justify="space-between" wrap="nowrap" gap={0}>
            <Group gap="xs" wrap="nowrap" visibleFrom="xs">
              <img src="/favicon.svg" alt="" width={26} height={26} />
              <Text fw={650}>Agent Servicing</Text>
            </Group>
            <Group gap={narrow ? 4 : "sm"} wrap="nowrap" className="head-acts">
              <LinkIndicator />
              <ReadOnly />
              <Operations narrow={narrow} />
              <Keys />
              <Bell />
              <Scheme />
              <Person />
            </Group>
          </Group>
        </AppShell.Header>
        {!narrow && (
          <AppShell.Navbar>
            <Places className="nav" />
          </AppShell.Navbar>
        )}
        <AppShell.Main id="main" tabIndex={-1}>
          <Newer />
          <div className="page">
            <Outlet />
          </div>
        </AppShell.Main>
      </AppShell>
      {narrow && <Places className="nav-bottom" />}
    </>
  );
}

function Places({ className }: { className: string }) {
  return (
    <nav className={className} aria-label="Pages">
      {PLACES.map(({ to, label, icon }) => (
        <Link key={to} to={to} activeOptions={{ exact: to === "/" }}>
          <Icon name={icon} />
          {label}
        </Link>
      ))}
    </nav>
  );
}

function LinkIndicator() {
  const state = useLinkState();
  const live = useLive();
  const [tone, word, words] = LINKS[state];
  const away = state === "reconnecting" || state === "offline";
  return (
    <Group gap="xs" wrap="nowrap">
      <Tooltip label={words}>
        <span role="status">
          <Status tone={tone}>{word}</Status>
        </span>
      </Tooltip>
      {state !== "live" && <Since />}
      {away && (
        <Button size="compact-sm" variant="default" onClick={live.retry}>
          Retry now
        </Button>
      )}
    </Group>
  );
}

/** How old what is shown is, and when the next attempt begins: counted here, once a second, and read out by nobody. */
function Since() {
  const live = useLive();
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const next = live.retryAt === null ? "" : `next try in ${duration(Math.max(1, (live.retryAt - now) / 1000))}`;
  const age = live.state === "delayed" ? `${duration((now - live.heardAt) / 1000)} old` : next;
  return (
    <Text size="sm" c="dimmed" visibleFrom="sm">
      {age}
    </Text>
  );
}

function ReadOnly() {
  if (!useReadOnly()) return null;
  return (
    <Tooltip label="You see everything and change nothing: your role is viewer. Ask an admin for another.">
      <Badge variant="outline" tt="none" c="var(--mantine-color-text)" style={{ borderColor: "var(--line)" }}>
        Read only
      </Badge>
    </Tooltip>
  );
}

/** Never over what somebody is in the middle of: an upgrade's steps say it when they are left. */
function Newer() {
  const replaced = useReplaced();
  const midway = useMatchRoute()({ to: "/agents/$agentId/upgrade" });
  if (!replaced || midway) return null;
  return (
    <div className="stripe" role="status">
      <Text>The server has a newer version of this page.</Text>
      <Button size="compact-md" variant="default" onClick={() => window.location.reload()}>
        Reload
      </Button>
    </div>
  );
}

function Scheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const dark = document.documentElement.getAttribute("data-mantine-color-scheme") === "dark";
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon variant="subtle" size="lg" aria-label="Colours" color="gray">
          <Icon name={dark ? "moon" : "sun"} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {(["light", "dark", "auto"] as const).map((each) => (
          <Menu.Item key={each} onClick={() => setColorScheme(each)} aria-current={colorScheme === each}>
            {{ light: "Light", dark: "Dark", auto: "As the system" }[each]}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function Person() {
  const { me, signOut } = useSession();
  return (
    <Menu>
      <Menu.Target>
        <Button variant="default" size="compact-md" maw={180} miw={40} px={8}>
          <Text truncate size="sm">
            {me.name}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {me.name}, {me.role}
          {me.role === "viewer" ? " (read only)" : ""}
        </Menu.Label>
        <Menu.Item component="a" href="/docs">
          API documentation
        </Menu.Item>
        <Menu.Item leftSection={<Icon name="leave" />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
