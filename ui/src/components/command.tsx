/** A command to be copied. Lines break between its words only: a browser would break `--watch` after its hyphens. */
export function Command({ children }: { children: string }) {
  return (
    <code className="command">
      {children.split(" ").map((word, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: words have no other name
        <span key={place}>{word} </span>
      ))}
    </code>
  );
}
