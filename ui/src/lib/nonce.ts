/** The policy allows styles with this page's own nonce only: Mantine, the editor, and what locks scrolling under a dialog have to know it. */
export const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
