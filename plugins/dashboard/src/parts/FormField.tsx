/** A labelled field of a form, with what is wrong with it. */

import { Field, Input, type InputProps } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A line of input. error: shown at the field, and read with it. */
export function FormField({
  label,
  value,
  onValue,
  error,
  help,
  required,
  width,
  ...rest
}: {
  label: ReactNode;
  value: string;
  onValue: (value: string) => void;
  error?: string | null;
  help?: ReactNode;
  required?: boolean;
} & Omit<InputProps, "value" | "onChange">) {
  return (
    <Field.Root invalid={Boolean(error)} required={required} width={width ?? "auto"}>
      <Field.Label>
        {label}
        <Field.RequiredIndicator />
      </Field.Label>
      <Input size="sm" {...rest} value={value} onChange={(event) => onValue(event.target.value)} />
      {error ? (
        <Field.ErrorText overflowWrap="anywhere">{error}</Field.ErrorText>
      ) : (
        help && <Field.HelperText>{help}</Field.HelperText>
      )}
    </Field.Root>
  );
}
