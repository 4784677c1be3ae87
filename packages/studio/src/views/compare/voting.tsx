// Which answer is better, and all that was said of it so far.
import { useState } from "preact/hooks";
import { api, hasService, messageOf } from "#api";
import { countOf, saveFile } from "#core";
import { Button, Dialog, DialogActions, Empty, toast } from "#ui";
import { canVote, type Turn } from "./conversation.ts";
import { session } from "./current.ts";
import { fileTime } from "./files.ts";
import { addVote, clearVotes, removeVote, votes } from "./vote-store.ts";
import { tally, toJsonLines, toLessons, toPairs, type Vote } from "./votes.ts";

/** The question after the last turn. It keeps its place while answers come. */
export function VoteBar({ turn }: { readonly turn: Turn }) {
  const panes = session.panes.value;
  const vote = turn.vote.value;
  if (panes.length < 2) return null;
  if (vote !== undefined) return <Voted turn={turn} vote={vote} />;
  const isReady = canVote(turn);
  const judge = (verdict: Vote["verdict"]): void => void addVote(session.vote(turn, verdict, Date.now()));
  return (
    <div class="beside vote-bar" role="group" aria-label="Which answer is better?">
      <span class="muted">Which is better?</span>
      {panes.map(({ model, name }, i) => (
        <Button key={model} disabled={!isReady} onClick={() => judge(i)}>
          {name}
        </Button>
      ))}
      <Button disabled={!isReady} onClick={() => judge("tie")}>
        Tie
      </Button>
      <Button disabled={!isReady} onClick={() => judge("bad")}>
        {panes.length === 2 ? "Both bad" : "All bad"}
      </Button>
    </div>
  );
}

function Voted({ turn, vote }: { readonly turn: Turn; readonly vote: Vote }) {
  const undo = (): void => {
    turn.vote.value = undefined;
    void removeVote(vote);
  };
  return (
    <div class="beside vote-bar" role="group" aria-label="Your vote">
      <span class="muted">
        {describe(vote)} {countPairs([vote])} kept.
      </span>
      <Button onClick={undo}>Undo</Button>
    </div>
  );
}

function describe({ verdict, candidates }: Vote): string {
  if (verdict === "tie") return "You called it a tie.";
  if (verdict === "bad") return candidates.length === 2 ? "You called both bad." : "You called all bad.";
  return `You chose ${candidates[verdict]?.model}.`;
}

function countPairs(all: readonly Vote[]): string {
  const count = all.reduce((sum, vote) => sum + toPairs(vote).length, 0);
  return count === 0 ? "No pairs" : count === 1 ? "One pair" : `${count} pairs`;
}

/** All votes: how the models did, and the pairs as training data. */
export function VotesDialog({ onClose }: { readonly onClose: () => void }) {
  const [isClearing, setClearing] = useState(false);
  const all = votes.value ?? [];
  const lines = toJsonLines(all);
  const lessons = all.flatMap(toLessons);
  const teach = async (): Promise<void> => {
    try {
      for (const body of lessons) await api.post("/v1/learning/lessons", { body });
      toast(`${countOf(lessons.length, "lesson")} kept`, { kind: "good" });
    } catch (problem) {
      toast(messageOf(problem), { kind: "bad" });
    }
  };
  return (
    <Dialog title="Votes" onClose={onClose}>
      {all.length === 0 ? (
        <Empty title="No votes yet">
          Compare two models and vote for the better answer. Each vote becomes preference pairs to train on.
        </Empty>
      ) : (
        <Tallies all={all} />
      )}
      <DialogActions>
        {all.length > 0 && (
          <Button
            kind="danger"
            onClick={() =>
              isClearing ? void clearVotes().then(() => setClearing(false)) : setClearing(true)
            }
          >
            {isClearing ? `Yes, remove ${all.length}` : "Remove all"}
          </Button>
        )}
        {hasService() && (
          <Button icon="lessons" disabled={lessons.length === 0} onClick={teach}>
            Keep as lessons
          </Button>
        )}
        <Button
          kind="primary"
          icon="download"
          disabled={lines === ""}
          onClick={() => saveFile(`preferences-${fileTime(new Date())}.jsonl`, lines)}
        >
          Download pairs
        </Button>
      </DialogActions>
    </Dialog>
  );
}

function Tallies({ all }: { readonly all: readonly Vote[] }) {
  const blind = all.filter(({ isBlind }) => isBlind).length;
  return (
    <div class="stack">
      <p>
        {all.length === 1 ? "One vote" : `${all.length} votes`},{" "}
        {blind === all.length ? "blind" : `${blind} blind`}. {countPairs(all)} to train on.
      </p>
      <table class="tallies">
        <thead>
          <tr>
            <th scope="col">Model</th>
            <th scope="col">Won</th>
            <th scope="col">Lost</th>
            <th scope="col">Neither</th>
          </tr>
        </thead>
        <tbody>
          {tally(all).map(({ model, wins, losses, others }) => (
            <tr key={model}>
              <th scope="row">{model}</th>
              <td>{wins}</td>
              <td>{losses}</td>
              <td>{others}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
