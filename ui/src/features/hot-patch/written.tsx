/** Where the change is written: as form or as text, which are two looks at one document; and what to do when it was begun on a revision that is not in force any more. */
import { Button, Group, SegmentedControl, Skeleton, Stack, Text } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import type { Wrong } from "../../components/code/editor";
import { Diff } from "../../components/diff";
import { Panel } from "../../components/panel";
import { suggester } from "./complete";
import { conflicts } from "./document";
import type { Config, Draft } from "./draft";
import type { FieldGroup } from "./fields";
import { Form } from "./form";

const Editor = lazy(() => import("../../components/code/editor").then(({ Editor }) => ({ default: Editor })));

const route = getRouteApi("/agents/$agentId/hot-patch");

export function Written({
  draft,
  groups,
  wrong,
  may,
}: {
  draft: Draft;
  groups: FieldGroup[];
  wrong: Wrong[];
  may: string;
}) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const shape = search.as ?? "form";
  const suggest = useMemo(() => suggester(draft.base.schema, draft.base.reserved_schema), [draft.base]);
  const [stuck, setStuck] = useState(false);
  const turnTo = (as: string) => {
    setStuck(draft.unreadable.length > 0);
    if (!draft.unreadable.length) void navigate({ search: { as: as as typeof shape }, replace: true });
  };
  return (
    <Panel
      title={`On top of ${draft.base.config_version}`}
      aside={
        <SegmentedControl
          aria-label="Shown as"
          value={shape}
          onChange={turnTo}
          data={[
            { value: "form", label: "Form" },
            { value: "json", label: "JSON" },
            { value: "yaml", label: "YAML" },
          ]}
        />
      }
    >
      <Stack gap="md">
        <Text c="dimmed">
          Takes effect while the agent runs. Every instance is asked first, and a refusal of one changes nothing.
          {shape === "form"
            ? ""
            : ' Secrets are typed in the form only; here they can be named: {"$secret": "name"}. A key that is taken out gets back what lies below.'}
        </Text>
        {may && <Text className="tone-warn">{may} You can look at what would change.</Text>}
        {stuck && draft.unreadable.length > 0 && (
          <Text className="tone-bad" role="alert">
            What is typed cannot be read yet; mend it before it is shown in another way.
          </Text>
        )}
        {shape === "form" ? (
          <Form
            key={draft.turn}
            groups={groups}
            base={draft.base.config}
            doc={draft.doc}
            secrets={draft.secrets}
            wrong={[...wrong, ...draft.unreadable.map(([path, message]) => ({ path, message }))]}
            reload={draft.base.reload}
            options={draft.options}
            onChange={draft.setDoc}
            onSecret={(field, value) => draft.setSecret(field.key, field.path, value)}
            onUnreadable={draft.setUnreadable}
          />
        ) : (
          <Suspense fallback={<Skeleton height={320} />}>
            <Editor
              key={`${shape} ${draft.turn}`}
              label={`Configuration of ${draft.base.agent_id} as ${shape.toUpperCase()}`}
              format={shape}
              initial={draft.doc}
              wrong={wrong}
              suggest={suggest}
              readOnly={false}
              onChange={draft.setDoc}
              onUnreadable={(why) => draft.setUnreadable("", why)}
            />
          </Suspense>
        )}
      </Stack>
    </Panel>
  );
}

export function Meanwhile({ draft, now }: { draft: Draft; now: Config }) {
  const both = conflicts(draft.base.config, draft.doc, now.config);
  const last = now.change;
  return (
    <Panel title="Somebody changed it meanwhile">
      <Stack gap="sm" role="alert">
        <Text className="cut">
          You began on {draft.base.config_version}; {now.agent_id} now has {now.config_version}
          {last?.config_version === now.config_version ? `, by ${last.operator}: ${last.reason}` : ""}.
        </Text>
        <Diff before={draft.base.config} after={now.config} label="What somebody else changed" />
        {both.length > 0 && (
          <Text className="tone-warn cut">Both of you changed {both.join(", ")}; going on, yours is proposed.</Text>
        )}
        <Group>
          <Button onClick={() => draft.goOnFrom(now)}>Go on from {now.config_version}</Button>
          <Button variant="default" onClick={() => draft.startAgain(now)}>
            Drop my change
          </Button>
        </Group>
      </Stack>
    </Panel>
  );
}
