/** Instead of a page: what is asked for is not there, or not for who asks. Says which, and leads on. */
import { Button, Group, Stack, Text, TextInput, Title } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import type { FormEvent } from "react";
import { type Problem, problemOf } from "../api/client";
import { useSession } from "../app/session";
import { useTitle } from "../app/title";
import { AnchorLink } from "./links";

export function Refused({ error }: { error?: unknown }) {
  const { me } = useSession();
  const navigate = useNavigate();
  const denied = (error as Problem | undefined)?.status === 403;
  const title = denied ? "This is not for you" : "There is no such page";
  useTitle(title);
  const find = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const q = String(new FormData(event.currentTarget).get("q") ?? "");
    void navigate({ to: "/agents", search: { q: q || undefined } });
  };
  return (
    <Stack gap="md" maw={560}>
      <Title order={1}>{title}</Title>
      {error !== undefined && <Text className="cut">{problemOf(error).title}</Text>}
      {denied && (
        <Text>
          You are {me.name}, {me.role}. An admin can give you a role.
        </Text>
      )}
      <form onSubmit={find}>
        <Group align="flex-end" gap="sm">
          <TextInput name="q" label="Look for an agent" />
          <Button type="submit" variant="default">
            Search
          </Button>
        </Group>
      </form>
      <Text>
        Or go to the <AnchorLink to="/">dashboard</AnchorLink> or to{" "}
        <AnchorLink to="/deployments">all deployments</AnchorLink>.
      </Text>
    </Stack>
  );
}
