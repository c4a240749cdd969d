/** From one page of a long list to the next, by its cursor; the browser's Back leads to the one before. Nothing where all fits on one. */
import { Button, Group, Text } from "@mantine/core";

interface Props {
  /** The cursor of the page that is shown, and of the next one. */
  after: string | undefined;
  next: string | null | undefined;
  words: string;
  onGo: (after: string | undefined) => void;
}

export function Pages({ after, next, words, onGo }: Props) {
  if (!after && !next) return null;
  return (
    <Group component="nav" aria-label="Pages of the list" justify="space-between" p="md">
      <Text c="dimmed">{words}</Text>
      <Group gap="xs">
        {after && (
          <Button variant="default" onClick={() => onGo(undefined)}>
            First page
          </Button>
        )}
        {next && (
          <Button variant="default" onClick={() => onGo(next)}>
            Next page
          </Button>
        )}
      </Group>
    </Group>
  );
}
