/** One kind of dialog for everything that is asked before it is done. Mantine's own header would be a second banner for a screen reader. */
import { CloseButton, Group, Modal } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";

export function Dialog({
  title,
  onClose,
  size = "lg",
  drawer = false,
  covered = false,
  children,
}: {
  title: string;
  onClose: () => void;
  size?: string;
  /** At the right edge and as high as the window: to look at something beside the page. */
  drawer?: boolean;
  /** Another dialog is in front, and Escape is meant for that one. */
  covered?: boolean;
  children: ReactNode;
}) {
  // It is open from its first moment on; Mantine gives the focus back only to what it saw before an opening.
  const [opener] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      if (opener instanceof HTMLElement) opener.focus();
    },
    [opener],
  );
  return (
    <Modal.Root
      opened
      onClose={onClose}
      size={size}
      closeOnEscape={!covered}
      transitionProps={{ duration: 0 }}
      {...(drawer ? { xOffset: 0, yOffset: 0 } : {})}
    >
      <Modal.Overlay />
      <Modal.Content className={drawer ? "drawer" : undefined}>
        <Modal.Body p="lg">
          <Group justify="space-between" wrap="nowrap" mb="md">
            <Modal.Title component="h2" fz="lg" fw={650}>
              {title}
            </Modal.Title>
            <CloseButton onClick={onClose} />
          </Group>
          {children}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
