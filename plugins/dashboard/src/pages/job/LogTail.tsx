import { Box, HStack, Skeleton, Text } from "@chakra-ui/react";
import { useEffect, useRef } from "react";
import { Link } from "react-router-dom";

import { ApiError } from "../../app/api";
import { PageLink, useAddress } from "../../app/links";
import { plural } from "../../lib/format";
import { Notice } from "../../parts/Notice";
import { Section } from "../../parts/Section";
import { LogText, useInks } from "../log/LogText";
import { useLog } from "../log/useLog";

const LAST = 200;

/** b: the last lines of the console log, live. */
export function LogTail({ id, admin }: { id: string; admin: boolean }) {
  const { store } = useLog(id, admin);
  const address = useAddress();
  const inks = useInks();
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const { count } = store;
  const first = Math.max(0, count - LAST);
  useEffect(() => {
    // A burst of lines may have left gaps.
    if (store.known && count) store.want(first, count - 1);
    const el = box.current;
    if (el && atEnd.current) el.scrollTop = el.scrollHeight;
  });
  const lines = Array.from({ length: count - first }, (_, at) => first + at);
  return (
    <Section
      id="log"
      title="Console log"
      aside={
        <HStack gap="4" fontSize="sm">
          {count > 0 && (
            <Text color="fg.muted">
              {count > LAST ? `last ${LAST} of ${plural(count, "line")}` : plural(count, "line")}
            </Text>
          )}
          <PageLink to={`/jobs/${id}/log`} textDecoration="underline">
            Open full log
          </PageLink>
        </HStack>
      }
    >
      {store.error !== null && !(store.error instanceof ApiError && store.error.hidden) && (
        <Notice kind="warning" title="The log does not come through at the moment">
          {store.known ? "What you see is as it was. " : ""}Trying again by itself.
        </Notice>
      )}
      {!store.known ? (
        <Skeleton height="24" />
      ) : count === 0 ? (
        <Text color="fg.muted" fontSize="sm" borderWidth="1px" borderRadius="md" p="3">
          {store.note}
        </Text>
      ) : (
        <Box
          ref={box}
          onScroll={(event) => {
            const el = event.currentTarget;
            atEnd.current = el.scrollTop + el.clientHeight >= el.scrollHeight - 8;
          }}
          tabIndex={0}
          role="region"
          aria-label="Last lines of the console log"
          maxHeight="22rem"
          overflow="auto"
          borderWidth="1px"
          borderRadius="md"
          fontFamily="mono"
          fontSize="13px"
          lineHeight="20px"
          py="1"
        >
          {lines.map((n) => {
            const line = store.line(n);
            return (
              <div
                key={n}
                style={{
                  display: "flex",
                  width: "max-content",
                  minWidth: "100%",
                  minHeight: 20,
                  borderLeft: `3px solid ${line?.err ? inks.error : "transparent"}`,
                }}
              >
                <Link
                  to={address(`/jobs/${id}/log?line=${n}`)}
                  aria-label={line?.err ? `error line ${n}` : `line ${n}`}
                  style={{
                    color: inks.line,
                    minWidth: `${String(count).length + 2}ch`,
                    textAlign: "right",
                    paddingInline: "6px 10px",
                    userSelect: "none",
                  }}
                >
                  {n}
                </Link>
                <span style={{ whiteSpace: "pre", paddingRight: 12 }}>
                  {line && <LogText text={line.text} inks={inks} />}
                  {line?.cut && "…"}
                </span>
              </div>
            );
          })}
        </Box>
      )}
    </Section>
  );
}
