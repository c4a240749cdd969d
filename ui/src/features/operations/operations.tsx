/** How many deployments are under way or waiting: in the head of every page, each leading to its monitor. */
import { Button, Group, Menu, type MenuItemProps, Text } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import { forwardRef } from "react";
import type { Schemas } from "../../api/client";
import { Icon } from "../../components/icons";
import { DeploymentStatus } from "../../components/status";
import { Time } from "../../components/time";
import { isWaiting } from "../../lib/deployments";
import { percent } from "../../lib/format";
import { useOpen } from "./open";
import { inWords, underWay } from "./under-way";

const NOTHING = "Nothing is under way, and nothing waits";

const BaseItem = forwardRef<HTMLAnchorElement, MenuItemProps>((props, ref) => (
  <Menu.Item component="a" ref={ref} {...props} />
));
const ItemLink = createLink(BaseItem);

export function Operations({ narrow }: { narrow: boolean }) {
  const open = useOpen();
  const counts = open.data?.counts ?? { running: 0, waiting: 0, upcoming: 0 };
  const words = inWords(counts);
  const shown = underWay(open.data?.upgrades ?? []);
  const many = counts.running + counts.waiting;
  return (
    <Menu width={370} position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <Button
          variant={many ? "default" : "subtle"}
          color="gray"
          size="compact-md"
          px={narrow ? 6 : undefined}
          className="no-shrink"
          aria-label={words ? `Operations: ${words}` : "Operations"}
        >
          <Group gap={6} wrap="nowrap">
            <Icon name="operations" />
            {narrow ? many || null : words}
          </Group>
        </Button>
      </Menu.Target>
      <Menu.Dropdown className="long-menu">
        <Menu.Label>{words || (open.data ? NOTHING : "Not known yet")}</Menu.Label>
        {shown.map((deployment) => (
          <Item key={deployment.upgrade_id} deployment={deployment} />
        ))}
        <Menu.Divider role="separator" />
        <ItemLink to="/deployments">
          {counts.upcoming ? `All deployments, ${counts.upcoming} scheduled` : "All deployments"}
        </ItemLink>
      </Menu.Dropdown>
    </Menu>
  );
}

function Item({ deployment }: { deployment: Schemas["DeploymentView"] }) {
  const { agent_id: agentId, upgrade_id: upgradeId, from_version: from, to_version: to } = deployment;
  return (
    <ItemLink to="/agents/$agentId/deployments/$upgradeId" params={{ agentId, upgradeId }}>
      <Text fw={650} size="sm" className="cut">
        {agentId} <span className="mono">{from ? `${from} → ${to}` : to}</span>
      </Text>
      <Group gap="2px 12px">
        <DeploymentStatus status={deployment.status} />
        <Text size="sm" component="div">
          {isWaiting(deployment.status)
            ? ""
            : `${percent(deployment.metrics.green?.traffic_percent ?? 0)} of the traffic, `}
          <Time at={deployment.started_at ?? deployment.requested_at} />
        </Text>
      </Group>
    </ItemLink>
  );
}
