/** Signing in: by name and password, by the one-time link that `servicing` prints, and the first admin by the set-up token. */
import { Button, Modal, Paper, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { problemOf } from "../../api/client";

interface Ways {
  setup_needed: boolean;
}

async function post(body: Record<string, string>): Promise<unknown> {
  const answer = await fetch("/api/platform/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return answer.ok ? null : await answer.json();
}

export function SignIn({ onDone, over = false }: { onDone: () => Promise<void>; over?: boolean }) {
  if (over) {
    return (
      <Modal.Root opened onClose={() => undefined} closeOnEscape={false} closeOnClickOutside={false}>
        <Modal.Overlay />
        <Modal.Content aria-label="Sign in again">
          <Modal.Body>
            <Form onDone={onDone} words="Your session is over. Sign in again; this page stays as it is." />
          </Modal.Body>
        </Modal.Content>
      </Modal.Root>
    );
  }
  return (
    <main id="main">
      <Stack align="center" pt="12vh" px="md">
        <Paper className="panel" p="xl" w="100%" maw={400}>
          <Form onDone={onDone} words="Upgrade, patch and take back running agents." />
        </Paper>
      </Stack>
    </main>
  );
}

function Form({ onDone, words }: { onDone: () => Promise<void>; words: string }) {
  const [ways, setWays] = useState<Ways | null>(null);
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const used = useRef(false);

  const enter = async (body: Record<string, string>) => {
    setBusy(true);
    const failed = await post(body).catch((error: unknown) => error);
    setBusy(false);
    setProblem(failed);
    if (!failed) await onDone();
  };

  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the form appears
  useEffect(() => {
    const token = window.location.hash.slice(1);
    if (token && !used.current) {
      used.current = true;
      window.history.replaceState(null, "", window.location.pathname);
      void enter({ sign_in_token: token });
    }
    // What cannot be asked now is no reason not to try a password.
    void fetch("/api/platform/session")
      .then(async (answer) => setWays((await answer.json()) as Ways))
      .catch(() => undefined);
  }, []);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    void enter(Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>);
  };
  const said = problem ? problemOf(problem) : null;
  return (
    <form onSubmit={submit}>
      <Stack gap="sm">
        <Title order={1}>{ways?.setup_needed ? "Make the first admin" : "Agent Servicing"}</Title>
        <Text c="dimmed">
          {ways?.setup_needed ? "The set-up token is in setup.token in the server's data directory." : words}
        </Text>
        {said && (
          <Text role="alert" className="tone-bad cut">
            {said.title} {said.hint}
          </Text>
        )}
        {ways?.setup_needed && (
          <TextInput name="setup_token" label="Set-up token" required autoComplete="one-time-code" />
        )}
        <TextInput name="user" label="Name" required autoComplete="username" />
        <PasswordInput
          name="password"
          label="Password"
          required
          autoComplete={ways?.setup_needed ? "new-password" : "current-password"}
          visibilityToggleButtonProps={{ "aria-label": "Show or hide the password" }}
        />
        <Button type="submit" loading={busy}>
          {ways?.setup_needed ? "Make it and sign in" : "Sign in"}
        </Button>
        <Text c="dimmed" size="sm">
          On the server's machine: <code>servicing user link NAME</code> prints a one-time link.
        </Text>
      </Stack>
    </form>
  );
}
