/** What a staging run found: each suite and case with its log, the comparison with what serves now, how much load it holds, and what follows from it. */
import { Code, Group, Stack, Table, Text } from "@mantine/core";
import type { Schemas } from "../../api/client";
import { Heads } from "../../components/heads";
import { Empty, Panel } from "../../components/panel";
import { Status } from "../../components/status";
import { count, milliseconds, perSecond, took } from "../../lib/format";
import type { Tone } from "../../theme/tokens";
import { caseName, compared, held, passedOf } from "./words";

export type Run = Schemas["StagingRunView"];
type Case = Schemas["CaseView"];

const RESULTS: Record<string, [Tone, string]> = {
  passed: ["good", "Passed"],
  failed: ["bad", "Failed"],
  skipped: ["quiet", "Left out"],
  inconclusive: ["warn", "Proves nothing"],
};

export function Result({ status }: { status: string }) {
  const [tone, words] = RESULTS[status] ?? ["quiet", status];
  return <Status tone={tone}>{words}</Status>;
}

export function RunStatus({ run }: { run: Run }) {
  if (run.recommendation === "safe_to_deploy") return <Status tone="good">Safe to deploy</Status>;
  if (run.recommendation === "issues_detected") return <Status tone="bad">Issues detected</Status>;
  if (run.status === "failed") return <Status tone="bad">Could not be run</Status>;
  if (run.status === "queued") return <Status tone="quiet">Queued</Status>;
  return run.status === "running" ? <Status tone="busy">Running</Status> : <Status tone="quiet">No verdict</Status>;
}

export function RunView({ run, onCase }: { run: Run; onCase?: (id: string) => void }) {
  const going = run.status === "queued" || run.status === "running";
  return (
    <Stack gap="lg">
      <Panel title={going ? "Under way" : "Recommendation"}>
        <Stack gap="xs" role="status">
          <RunStatus run={run} />
          {going && <Text>{run.phase.replaceAll("_", " ") || "Waiting for its turn"}</Text>}
          {run.message && <Text className="cut">{run.message}</Text>}
          {run.reasons.map((reason) => (
            <Text key={reason} className="cut">
              {reason}
            </Text>
          ))}
          {run.notes.map((note) => (
            <Text key={note} size="sm" c="dimmed" className="cut">
              {note}
            </Text>
          ))}
        </Stack>
      </Panel>
      {run.suites.length === 0 && (
        <Panel title="Suites">
          <Empty title={going ? "No suite has ended yet" : "No suite was run"} />
        </Panel>
      )}
      {run.suites.map((suite) => (
        // How it started is no test that could be run by itself.
        <Suite key={suite.suite} suite={suite} onCase={suite.suite === "start" ? undefined : onCase} />
      ))}
      {run.comparison && <Comparison comparison={run.comparison} />}
      {run.load && <Load load={run.load} />}
      {run.log && <Log title="The whole log" text={run.log} />}
    </Stack>
  );
}

function Suite({ suite, onCase }: { suite: Schemas["SuiteView"]; onCase?: (id: string) => void }) {
  const name = suite.suite.charAt(0).toUpperCase() + suite.suite.slice(1);
  // What failed is what one came for.
  const cases = [...suite.cases].sort(
    (one, other) => Number(other.status === "failed") - Number(one.status === "failed"),
  );
  return (
    <Panel
      title={name}
      aside={
        <Group gap="sm">
          <Text size="sm" c="dimmed">
            {passedOf(suite)}
          </Text>
          <Result status={suite.status} />
        </Group>
      }
    >
      <Stack gap="xs">
        {suite.message && <Text className="cut">{suite.message}</Text>}
        {cases.length > 0 && (
          <ul className="steps" aria-label={`Cases of ${suite.suite}`}>
            {cases.slice(0, 500).map((each) => (
              <CaseRow key={each.case} found={each} onCase={onCase} />
            ))}
          </ul>
        )}
        {suite.log && <Log title={`Log of ${suite.suite}`} text={suite.log} />}
      </Stack>
    </Panel>
  );
}

function CaseRow({ found, onCase }: { found: Case; onCase?: (id: string) => void }) {
  return (
    <li className="case">
      <Group justify="space-between" gap="xs">
        <Text className="cut" title={found.name}>
          {caseName(found.name)}
        </Text>
        <Group gap="sm">
          <Text size="sm" c="dimmed">
            {took(found.duration_seconds)}
          </Text>
          <Result status={found.status} />
          {onCase && (
            <button
              type="button"
              className="link"
              onClick={() => onCase(found.case)}
              aria-label={`Run ${found.name} again`}
            >
              Run again
            </button>
          )}
        </Group>
      </Group>
      {found.message && (
        <Text size="sm" className={found.status === "failed" ? "tone-bad cut" : "cut"}>
          {found.message}
        </Text>
      )}
      {(found.trace || found.log) && (
        <Log title={`Log of ${found.name}`} text={[found.trace, found.log].filter(Boolean).join("\n\n")} />
      )}
    </li>
  );
}

function Log({ title, text }: { title: string; text: string }) {
  return (
    <details>
      <summary>{title}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by keyboard */}
      {/* biome-ignore lint/a11y/useSemanticElements: nothing here is filled in, so it is no fieldset */}
      <div tabIndex={0} role="group" aria-label={title} className="log">
        <Code block>{text}</Code>
      </div>
    </details>
  );
}

function Comparison({ comparison }: { comparison: Schemas["ComparisonView"] }) {
  const rows = [...(comparison.overall ? [comparison.overall] : []), ...comparison.requests];
  return (
    <Panel title="Performance compared" flush>
      <Stack gap={4} p="md">
        <Text>
          {comparison.overall
            ? compared(comparison.overall, comparison.tolerance_percent)
            : "Too little was measured to compare."}
        </Text>
        <Text size="sm" c="dimmed">
          {count(comparison.sent)} requests to each; {count(comparison.old_errors)} errors of {comparison.old_version},{" "}
          {count(comparison.new_errors)} of {comparison.new_version}.
        </Text>
      </Stack>
      {rows.length > 0 && (
        <Table aria-label="Latency of both versions" miw={680}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Request</Table.Th>
              <Table.Th scope="col">{comparison.old_version}, p50 / p95</Table.Th>
              <Table.Th scope="col">{comparison.new_version}, p50 / p95</Table.Th>
              <Table.Th scope="col">In words</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((row) => (
              <Table.Tr key={row.name}>
                <Table.Th scope="row" className="cut">
                  {row.name}
                </Table.Th>
                <Table.Td>
                  {milliseconds(row.old_p50_ms)} / {milliseconds(row.old_p95_ms)}
                </Table.Td>
                <Table.Td>
                  {milliseconds(row.new_p50_ms)} / {milliseconds(row.new_p95_ms)}
                </Table.Td>
                <Table.Td>{compared(row, comparison.tolerance_percent)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </Panel>
  );
}

function Load({ load }: { load: Schemas["LoadView"] }) {
  return (
    <Panel title="Load in numbers" flush>
      <Stack gap={4} p="md">
        <Text>{held(load)}</Text>
        <Text size="sm" c="dimmed">
          Wanted: {perSecond(load.target_rps)}.
          {load.old_knee_rps == null ? "" : ` The version that serves bends at ${perSecond(load.old_knee_rps)}.`}
        </Text>
      </Stack>
      <Table aria-label="Steps of load" miw={560}>
        <Heads of={["Sent", "Answered", "p50", "p95", "p99", "Errors"]} />
        <Table.Tbody>
          {load.steps.map((step) => (
            <Table.Tr key={step.target_rps}>
              <Table.Th scope="row">{perSecond(step.target_rps)}</Table.Th>
              <Table.Td>{perSecond(step.achieved_rps)}</Table.Td>
              <Table.Td>{milliseconds(step.p50_ms)}</Table.Td>
              <Table.Td>{milliseconds(step.p95_ms)}</Table.Td>
              <Table.Td>{milliseconds(step.p99_ms)}</Table.Td>
              <Table.Td>{count(step.errors)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Panel>
  );
}
