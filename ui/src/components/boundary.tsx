/** What breaks while it is drawn breaks alone: the rest of the page goes on. A part that the server no longer has is a newer page, not a defect. */
import { Button, Code, Stack, Text, Title } from "@mantine/core";
import { Component, type ReactNode } from "react";

export class Boundary extends Component<{ children: ReactNode; order?: 1 }, { broken: unknown }> {
  override state = { broken: null };

  static getDerivedStateFromError(broken: unknown) {
    return { broken };
  }

  override render() {
    if (this.state.broken === null) return this.props.children;
    return <Broken error={this.state.broken} order={this.props.order} reset={() => this.setState({ broken: null })} />;
  }
}

/** A chunk of an older page, asked for after the server was upgraded, or while it cannot be reached. */
const MISSING = /dynamically imported module|module script|preload/i;

export function Broken({ error, reset, order }: { error: unknown; reset: () => void; order?: 1 }) {
  const said = error instanceof Error ? error.message : String(error);
  const missing = MISSING.test(said);
  return (
    <Stack gap="xs" p="md" role="alert">
      <Title order={order ?? 3}>
        {missing ? "This part of the page cannot be had" : "This part of the page broke"}
      </Title>
      <Text>
        {missing
          ? "The server was upgraded since this tab was opened, or cannot be reached. Reloading brings the page it has now; what you typed into the steps of an upgrade is kept."
          : "The rest goes on. Nothing was changed by it."}
      </Text>
      {!missing && <Code className="cut">{said}</Code>}
      <Button variant="default" w="fit-content" onClick={missing ? () => window.location.reload() : reset}>
        {missing ? "Reload the page" : "Try again"}
      </Button>
    </Stack>
  );
}
