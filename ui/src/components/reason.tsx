/** Why: it goes into the audit, so it is asked for everywhere, and one click is enough. */
import { Chip, Group, Stack, Textarea } from "@mantine/core";

export const REASONS = ["Error rate", "Latency", "Wrong answers", "Security fix", "Planned"];

export function Reason({
  value,
  onChange,
  reasons = REASONS,
  focused = true,
}: {
  value: string;
  onChange: (reason: string) => void;
  reasons?: string[];
  /** Whether the dialog begins here. */
  focused?: boolean;
}) {
  return (
    <Stack gap="xs">
      <Textarea
        label="Reason"
        description="Kept in the audit."
        required
        autosize
        minRows={2}
        maxLength={2000}
        value={value}
        onChange={(event) => onChange(event.currentTarget.value)}
        data-autofocus={focused || undefined}
      />
      <Chip.Group value={value} onChange={(chosen) => onChange(String(chosen))}>
        <Group gap={6} role="group" aria-label="Common reasons">
          {reasons.map((reason) => (
            <Chip key={reason} value={reason} size="sm">
              {reason}
            </Chip>
          ))}
        </Group>
      </Chip.Group>
    </Stack>
  );
}
