/** What the last staging run of a version came to, with its report. */
import { Text } from "@mantine/core";
import { AnchorLink } from "./links";
import { Status } from "./status";

export function Tested({ agent, results }: { agent: string; results: Record<string, string> }) {
  const { recommendation, staging_run: run, ...suites } = results;
  const counts = Object.entries(suites).map(([suite, count]) => `${suite.replaceAll("_", " ")} ${count}`);
  if (!recommendation && !counts.length) return null;
  const safe = recommendation === "safe_to_deploy";
  return (
    <Text size="sm" component="div" className="cut">
      {recommendation && (
        <div>
          <Status tone={safe ? "good" : "bad"}>{`In staging: ${recommendation.replaceAll("_", " ")}`}</Status>
        </div>
      )}
      {counts.join(", ")}
      {run && (
        <>
          {". "}
          <AnchorLink to="/agents/$agentId/staging/$runId" params={{ agentId: agent, runId: run }}>
            See the report
          </AnchorLink>
        </>
      )}
    </Text>
  );
}
