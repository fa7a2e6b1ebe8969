/** How the system is, for everybody who may sign in. */

import { Badge, Box, HStack, SimpleGrid, Text } from "@chakra-ui/react";
import { CircleAlert, CircleCheck, CircleHelp, CircleX, type LucideIcon } from "lucide-react";

import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { number } from "../../lib/format";
import { FiguresPage } from "../../parts/FiguresPage";
import { Notice } from "../../parts/Notice";
import { Section } from "../../parts/Section";
import { Tile } from "../../parts/Tile";
import { Announcements } from "./Announcements";
import { Health } from "./Health";
import { light, partName, summary } from "./lights";
import { Lines } from "./Lines";
import { WeekChart } from "./WeekChart";

const EVERY_MS = 30_000;

const ICONS: LucideIcon[] = [CircleCheck, CircleHelp, CircleAlert, CircleX];

export default function Status() {
  const me = useMe();
  const live = useLive<Answer<"Status">>("/status", { every: EVERY_MS });
  return (
    <FiguresPage title="System status" live={live}>
      {(page) => (
        <>
          <Announcements shown={page.announcements} mayEdit={me.is_admin && me.may_write} />
          {page.paused && (
            <Box mt="3">
              <Notice kind="warning" title="The engine is paused">
                Jobs are accepted and kept; none is started until an administrator goes on.
              </Notice>
            </Box>
          )}
          <Lights parts={page.parts} />
          <SimpleGrid columns={{ base: 2, md: 4 }} gap="3" mt="4">
            <Tile label="Running" value={number(page.running)} colour="running" />
            <Tile label="Waiting" value={number(page.waiting)} colour="queued" />
            <Tile label="Started in the last hour" value={number(page.started_last_hour)} />
            <Tile label="Active users" value={number(page.active_users)} />
          </SimpleGrid>
          <Section id="queue" title="Queue by client group">
            <Lines groups={page.groups} />
          </Section>
          <Section id="week" title="The last seven days">
            <WeekChart chart={page.chart} />
          </Section>
          {page.active_user_names && (
            <Section id="users" title="Active users">
              <Names names={page.active_user_names} />
            </Section>
          )}
          {page.health && <Health report={page.health} />}
        </>
      )}
    </FiguresPage>
  );
}

function Lights({ parts }: { parts: readonly Answer<"Part">[] }) {
  const all = summary(parts);
  return (
    <Box as="section" aria-label="Parts of the system" mt="4">
      <Text fontSize="lg" fontWeight="semibold" color={`${all.colour}.fg`} mb="2">
        {all.text}
      </Text>
      <SimpleGrid as="ul" columns={{ base: 1, sm: 2, lg: 4 }} gap="2" listStyleType="none">
        {parts.map((part) => {
          const { word, colour, rank } = light(part.light);
          const Icon = ICONS[rank] ?? CircleHelp;
          return (
            <Box
              as="li"
              key={part.part}
              borderWidth="1px"
              borderLeftWidth="4px"
              borderLeftColor={`${colour}.solid`}
              borderRadius="md"
              px="3"
              py="2"
              data-part={part.part}
              data-light={part.light}
            >
              <HStack justify="space-between">
                <Text fontWeight="medium">{partName(part.part)}</Text>
                <Badge bg={`${colour}.subtle`} color={`${colour}.fg`} size="sm">
                  <Icon size={14} aria-hidden />
                  {word}
                </Badge>
              </HStack>
              <Text fontSize="sm" color="fg.muted" overflowWrap="anywhere">
                {part.text}
              </Text>
            </Box>
          );
        })}
      </SimpleGrid>
    </Box>
  );
}

function Names({ names }: { names: readonly string[] }) {
  return (
    <HStack as="ul" wrap="wrap" gap="2" listStyleType="none">
      {names.map((name) => (
        <Badge as="li" key={name} variant="outline" overflowWrap="anywhere" whiteSpace="normal">
          <bdi>{name}</bdi>
        </Badge>
      ))}
    </HStack>
  );
}
