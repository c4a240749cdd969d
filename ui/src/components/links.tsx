/** Mantine's looks with the router's typed addresses. */
import { Anchor, type AnchorProps, Button, type ButtonProps } from "@mantine/core";
import { createLink } from "@tanstack/react-router";
import { forwardRef } from "react";

const BaseAnchor = forwardRef<HTMLAnchorElement, Omit<AnchorProps, "href">>((props, ref) => (
  <Anchor ref={ref} underline="always" {...props} />
));
const BaseButton = forwardRef<HTMLAnchorElement, Omit<ButtonProps, "href">>((props, ref) => (
  <Button component="a" ref={ref} {...props} />
));

export const AnchorLink = createLink(BaseAnchor);
export const ButtonLink = createLink(BaseButton);
