import { RadioGroup } from "@chakra-ui/react";

/** One of the choices of a `RadioGroup.Root`. */
export function Choice({ value, text }: { value: string; text: string }) {
  return (
    <RadioGroup.Item value={value}>
      <RadioGroup.ItemHiddenInput />
      <RadioGroup.ItemIndicator />
      <RadioGroup.ItemText>{text}</RadioGroup.ItemText>
    </RadioGroup.Item>
  );
}
