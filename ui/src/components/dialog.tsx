/** One kind of dialog for everything that is asked before it is done. Mantine's own header would be a second banner for a screen reader. */
import { CloseButton, Group, Modal } from "@mantine/core";
import type { ReactNode } from "react";

export function Dialog({
  title,
  onClose,
  size = "lg",
  children,
}: {
  title: string;
  onClose: () => void;
  size?: string;
  children: ReactNode;
}) {
  return (
    <Modal.Root opened onClose={onClose} size={size} transitionProps={{ duration: 0 }}>
      <Modal.Overlay />
      <Modal.Content>
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
