import { Box, Text } from "@chakra-ui/react";

import type { Answer } from "../../app/types";
import { Notice } from "../../parts/Notice";
import { Section } from "../../parts/Section";
import { Ago } from "../../parts/times";

/** The newest daily report on the engine's health; administrators have it. */
export function Health({ report }: { report: Answer<"HealthReport"> }) {
  return (
    <Section
      id="health"
      title="Report of the day"
      aside={
        <Text fontSize="sm" color="fg.muted">
          made <Ago at={report.at} />
        </Text>
      }
    >
      {report.problems.length > 0 ? (
        <Notice kind="warning" title="Needs attention">
          <Facts lines={report.problems} />
        </Notice>
      ) : (
        <Notice kind="success" title="Nothing needs attention" />
      )}
      <Box mt="3" fontSize="sm">
        <Facts lines={report.lines} />
      </Box>
    </Section>
  );
}

function Facts({ lines }: { lines: readonly string[] }) {
  return (
    <Box as="ul" ps="5" listStyleType="disc">
      {lines.map((line) => (
        <Box as="li" key={line} overflowWrap="anywhere" mb="1">
          {line}
        </Box>
      ))}
    </Box>
  );
}
