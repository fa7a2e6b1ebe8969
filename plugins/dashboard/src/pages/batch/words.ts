/** What the batch page says of a batch. Pure. */

import type { Answer } from "../../app/types";
import { LIVE } from "../../lib/states";

export type BatchPage = Answer<"BatchPage">;
export type Stage = Answer<"Stage">;

/** The batch's state in one word: how it ended, or what most matters of what goes on. */
export function overall(batch: Pick<BatchPage, "end" | "status" | "counts" | "stages">): string {
  if (batch.end) return batch.end;
  const states = batch.stages.map((stage) => stage.status);
  for (const state of ["running", "queued", "estimating", "created"])
    if (batch.counts[state] || states.includes(state)) return state;
  return batch.status;
}

/** How many children have not ended. */
export function liveCount(counts: Readonly<Record<string, number>>): number {
  return LIVE.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
}

/** The name of a stage for people. */
export function stageName(stage: Stage, children: number): string {
  if (stage.stage === "parts") return `Parts (${children.toLocaleString()})`;
  return stage.stage === "split" ? "Split" : "Aggregate";
}

/** Whether something of the stage has yet to end. */
export function goesOn(stage: Stage): boolean {
  return liveCount(stage.counts) > 0;
}

export interface GanttBar {
  name: string;
  state: string | null;
  /** ms; null: not yet. */
  queued: number | null;
  running: number | null;
  /** The end, or now for what goes on. */
  end: number | null;
  live: boolean;
}

/** The bars of the stages; those that go on end at `now`. */
export function ganttBars(batch: Pick<BatchPage, "stages" | "children">, now: number): GanttBar[] {
  return batch.stages.map((stage) => {
    const live = goesOn(stage) && (stage.first_queued ?? stage.first_running) !== null;
    return {
      name: stageName(stage, batch.children),
      state: stage.status,
      queued: stage.first_queued,
      running: stage.first_running,
      end: live ? now : stage.last_finished,
      live,
    };
  });
}
