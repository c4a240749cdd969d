/** A part of a page with a heading. Waiting, failing and having nothing are said in it; the rest of the page goes on. */
import { Button, Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { isRefusal, problemOf } from "../api/client";
import { absolute } from "../lib/format";
import { Boundary } from "./boundary";

interface Question {
  isPending: boolean;
  error: unknown;
  data?: unknown;
  dataUpdatedAt?: number;
  refetch: () => unknown;
}

export function Panel({
  title,
  aside,
  flush = false,
  children,
}: {
  title: string;
  aside?: ReactNode;
  flush?: boolean;
  children: ReactNode;
}) {
  return (
    <section className="panel" aria-label={title}>
      <Group className="panel-head" justify="space-between" gap="sm">
        <Title order={2}>{title}</Title>
        {aside}
      </Group>
      {flush ? (
        // What is wider than the screen scrolls here, also by keyboard.
        // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolling takes the focus
        // biome-ignore lint/a11y/useSemanticElements: nothing here is filled in, so it is no fieldset
        <div className="panel-flush" tabIndex={0} role="group" aria-label={`${title}, scrolls sideways`}>
          <Boundary>{children}</Boundary>
        </div>
      ) : (
        <div className="panel-body">
          <Boundary>{children}</Boundary>
        </div>
      )}
    </section>
  );
}

/** What a question came to: the shape of the answer while it is on its way, old data rather than none, else what went wrong. */
export function Asked({ question, lines = 3, children }: { question: Question; lines?: number; children: ReactNode }) {
  if (question.data !== undefined) {
    if (!question.error) return children;
    return (
      <>
        <Stale at={question.dataUpdatedAt} />
        {children}
      </>
    );
  }
  if (question.isPending) {
    return (
      <Stack gap="xs" p="md" aria-busy="true" role="status" aria-label="Loading">
        {Array.from({ length: lines }, (_, line) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
          <Skeleton key={line} height={18} />
        ))}
      </Stack>
    );
  }
  return <Failed error={question.error} again={() => question.refetch()} />;
}

/** Old data is better than none, as long as nobody takes it for new. */
function Stale({ at }: { at?: number }) {
  return (
    <Text size="sm" className="tone-warn" px="md" py={4}>
      Could not be refreshed{at ? `; this is from ${absolute(new Date(at).toISOString())}` : ""}.
    </Text>
  );
}

export function Failed({ error, again }: { error: unknown; again?: () => void }) {
  const { title, hint, requestId } = problemOf(error);
  return (
    <Stack gap="xs" p="md" role="alert">
      <Text fw={600} className="tone-bad cut">
        {title}
      </Text>
      {hint && <Text className="cut">{hint}</Text>}
      {requestId && (
        <Text size="sm" c="dimmed">
          The server's log has it under <code className="pick">{requestId}</code>.
        </Text>
      )}
      {again && !isRefusal(error) && (
        <Button variant="default" w="fit-content" onClick={again}>
          Try again
        </Button>
      )}
    </Stack>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Stack gap={4} p="lg" align="center" ta="center">
      <Text fw={600}>{title}</Text>
      <Text c="dimmed" component="div">
        {children}
      </Text>
    </Stack>
  );
}
