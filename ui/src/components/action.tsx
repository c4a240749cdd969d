/** A button that says why it cannot be pressed instead of hiding. It stays reachable by keyboard, so that everybody can hear the reason. */
import { Button, type ButtonProps, Tooltip } from "@mantine/core";
import type { ReactNode } from "react";

interface Props extends ButtonProps {
  why?: string;
  onAct: () => void;
  children: ReactNode;
}

export function Action({ why, onAct, children, ...looks }: Props) {
  if (!why) {
    return (
      <Button {...looks} onClick={onAct}>
        {children}
      </Button>
    );
  }
  return (
    <Tooltip label={why} multiline maw={280}>
      <Button {...looks} data-disabled aria-disabled onClick={(event) => event.preventDefault()}>
        {children}
      </Button>
    </Tooltip>
  );
}
