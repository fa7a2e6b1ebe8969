/** Where in a form a message of the server belongs. */

/** The field that a message of the server is about, by the name at its beginning ("places must be
 * …", "expires: … is over already", "body.places: …"); null: about the whole. */
export function fieldOf<Name extends string>(message: string, names: readonly Name[]): Name | null {
  const words = message.split(/[^A-Za-z_]+/, 3).filter((word) => word && word !== "body");
  const first = words[0];
  return names.find((name) => name === first) ?? null;
}

/** A whole number as typed; null for an empty field, NaN for what is none. */
export function whole(text: string): number | null {
  const said = text.trim();
  if (!said) return null;
  return /^[+-]?\d{1,15}$/.test(said) ? Number(said) : NaN;
}

/** A number as typed, "1.5" or "1,5"; null for an empty field, NaN for what is none. */
export function decimal(text: string): number | null {
  const said = text.trim().replace(",", ".");
  if (!said) return null;
  return /^[+-]?\d{1,12}(\.\d{1,6})?$/.test(said) ? Number(said) : NaN;
}
