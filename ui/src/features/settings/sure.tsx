/** A second click before something is taken from somebody. */
import { Button, Group, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { Dialog } from "../../components/dialog";
import { Failed } from "../../components/panel";

export function Sure({
  title,
  words,
  act,
  onAct,
  onClose,
}: {
  title: string;
  words: string;
  act: string;
  onAct: () => Promise<{ error?: unknown }>;
  onClose: () => void;
}) {
  const [problem, setProblem] = useState<unknown>(null);
  const send = async () => {
    const { error } = await onAct();
    if (error) setProblem(error);
    else onClose();
  };
  return (
    <Dialog title={title} onClose={onClose} size="md">
      <Stack gap="md">
        <Text>{words}</Text>
        {problem !== null && <Failed error={problem} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Leave it as it is
          </Button>
          <Button color="danger" onClick={() => void send()}>
            {act}
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
