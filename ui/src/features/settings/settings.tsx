/** What is set for everybody, and for oneself. The part is in the address; what needs an admin says so instead of failing. */
import { Stack, Tabs, Text, Title } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { SETTINGS, type Setting } from "../../app/search";
import { useMay } from "../../app/session";
import { useTitle } from "../../app/title";
import { Panel } from "../../components/panel";
import { Rules } from "../schedule/calendar";
import { Gates } from "./gates";
import { Mine } from "./mine";
import { NotificationRules } from "./notification-rules";
import { Secrets } from "./secrets";
import { Thresholds } from "./thresholds";
import { Tokens } from "./tokens";
import { Tracker } from "./tracker";
import { Users } from "./users";

const route = getRouteApi("/settings");

const NAMES: Record<Setting, string> = {
  mine: "You",
  users: "Users",
  tokens: "API tokens",
  notifications: "Notifications",
  thresholds: "Thresholds",
  freezes: "Freezes",
  gates: "Staging gates",
  integrations: "Integrations",
  secrets: "Secrets",
};
const FOR_ADMINS: Setting[] = ["users", "tokens", "notifications", "integrations"];

export function Settings() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const part = search.part ?? "mine";
  const why = useMay("admin");
  useTitle(NAMES[part], "Settings");
  return (
    <Stack gap="lg">
      <Title order={1}>Settings</Title>
      <Tabs
        value={part}
        onChange={(value) => void navigate({ search: { part: (value ?? "mine") as Setting } })}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          {SETTINGS.map((each) => (
            <Tabs.Tab key={each} value={each}>
              {NAMES[each]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {SETTINGS.map((each) => (
          <Tabs.Panel key={each} value={each}>
            {why && FOR_ADMINS.includes(each) ? (
              <Panel title={NAMES[each]}>
                <Text>{why}</Text>
              </Panel>
            ) : (
              <Part part={each} />
            )}
          </Tabs.Panel>
        ))}
      </Tabs>
    </Stack>
  );
}

function Part({ part }: { part: Setting }) {
  switch (part) {
    case "users":
      return <Users />;
    case "tokens":
      return <Tokens />;
    case "notifications":
      return <NotificationRules />;
    case "thresholds":
      return <Thresholds />;
    case "freezes":
      return <Rules />;
    case "gates":
      return <Gates />;
    case "integrations":
      return <Tracker />;
    case "secrets":
      return <Secrets />;
    default:
      return <Mine />;
  }
}
