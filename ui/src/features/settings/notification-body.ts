/** The settings of notifications are written as a whole; this makes the whole of what is shown and what was changed. */
import type { Schemas } from "../../api/client";

type View = Schemas["NotificationSettingsView"];
type Body = Schemas["NotificationSettingsBody"];
export type NotificationRule = View["rules"][number];

export const SEVERITIES = [
  { value: "info", label: "Everything" },
  { value: "warning", label: "Warnings and worse" },
  { value: "error", label: "Errors and worse" },
  { value: "critical", label: "Only what is critical" },
];

/** Everything as it is but for these rules; an address that is not sent is kept, so that no secret passes through here. */
export function bodyOf(view: View, rules: NotificationRule[] = view.rules): Body {
  return {
    give_up_seconds: view.give_up_seconds,
    if_revision: view.revision,
    page_url: view.page_url,
    rules,
    same_for_seconds: view.same_for_seconds,
    targets: view.targets.map(({ name, enabled }) => ({ name, enabled })),
  } as Body;
}

/** With this rule in the place of the one that it was, or at the end. */
export function withRule(rules: NotificationRule[], rule: NotificationRule, before?: string): NotificationRule[] {
  return before === undefined ? [...rules, rule] : rules.map((each) => (each.name === before ? rule : each));
}

/** Without a target, and without the rules that led only there. */
export function withoutTarget(view: View, name: string): Body {
  const rules = view.rules
    .map((rule) => ({ ...rule, targets: rule.targets.filter((target) => target !== name) }))
    .filter((rule) => rule.targets.length > 0);
  const body = bodyOf(view, rules);
  return { ...body, targets: body.targets.filter((target) => target.name !== name) };
}
