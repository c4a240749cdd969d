/** What a rollback makes of what the agent remembers: each choice in words, and whether something is lost. Only then is its name asked for: going back is otherwise never made hard. */
import type { Schemas } from "../../api/client";
import { count } from "../../lib/format";

type Choice = Schemas["RollbackPlanView"]["choices"][number];
type Plan = Pick<Schemas["RollbackPlanView"], "choice_needed" | "state_sentence"> & {
  choices: Pick<Choice, "state" | "set_aside">[];
};
export type Kept = "keep" | "restore";

const NAMES: Record<Choice["state"], string> = { keep: "Keep", convert: "Keep and convert", restore: "Restore" };

/** What is asked for: the server converts what is kept wherever it can be converted. */
export function asked(state: Choice["state"]): Kept {
  return state === "restore" ? "restore" : "keep";
}

export function outcome(choice: Pick<Choice, "state" | "possible" | "kept" | "converted" | "set_aside">): string {
  const { kept, converted, set_aside: aside } = choice;
  const counted =
    kept === null || converted === null || aside === null
      ? "nobody can count the records"
      : `${count(kept)} kept, ${count(converted)} converted, ${count(aside)} set aside`;
  return `${NAMES[choice.state]}: ${choice.possible ? counted : "not possible"}`;
}

/** In a sentence; empty when nothing is lost. Without a choice of the operator's the state is kept. */
export function lost(plan: Plan, state: Kept | null): string {
  const chosen = plan.choices.find((choice) => asked(choice.state) === (state ?? "keep"));
  if (chosen?.state === "restore" && chosen.set_aside === null)
    return "What was written since is set aside, and nobody can count it.";
  if (chosen?.set_aside)
    return `${chosen.set_aside} records that were written since are set aside: nobody answers with them any more.`;
  if (plan.choice_needed && state === "keep")
    return `The older version may not be able to use what is kept: ${plan.state_sentence}.`;
  return "";
}
