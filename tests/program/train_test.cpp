// `lisa train` of the program built for lisa-tiny: runs, refusals, the plan.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "lisa/files/json.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
using lisa::test::free_port;
using lisa::test::ProgramRun;
using lisa::test::read_text;
using lisa::test::run_program;
using lisa::test::RunningProgram;
using lisa::test::TempDir;
using lisa::test::write_text;

namespace {

namespace fs = std::filesystem;

const std::string shipped_model = LISA_TEST_DATA "/../models/lisa-tiny",
                  demo_picture = LISA_TEST_DATA "/../examples/demo/table.png";

ProgramRun train(const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"train"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(LISA_TINY_PROGRAM, arguments);
}

/// Two columns of a plan, in the unit of its first line.
struct PlannedPart {
  double weights = -1, total = -1;
};

PlannedPart planned(const std::string& plan, const std::string& part) {
  std::istringstream lines(plan);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name, unit;
    double parameters = 0, trained = 0, gradients = 0, states = 0, activations = 0;
    PlannedPart found;
    if (words >> name && name == part &&
        words >> parameters >> unit >> trained >> unit >> found.weights >> gradients >> states >> activations >>
            found.total)
      return found;
  }
  return {};
}

std::vector<std::string> scratch_run(const std::string& folder, const std::vector<std::string>& more = {},
                                     int steps = 4) {
  std::vector<std::string> arguments{"--from-scratch",
                                     "--spec",
                                     "lisa-tiny",
                                     "--train",
                                     "everything",
                                     "--tabletop",
                                     "pretraining",
                                     "--steps",
                                     std::to_string(steps),
                                     "--batch",
                                     "1",
                                     "--accumulation",
                                     "1",
                                     "--steps-per-epoch",
                                     "2",
                                     "--val-limit",
                                     "3",
                                     "--threads",
                                     "1",
                                     "--output",
                                     folder};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// The lines of a run's log.
std::vector<Json> log_of(const std::string& folder) {
  std::vector<Json> entries;
  std::istringstream lines(read_text(folder + "/log.jsonl"));
  for (std::string line; std::getline(lines, line);) entries.push_back(parse_json(line, "log"));
  return entries;
}

/// Checksums of weights and moments after each step.
std::map<std::int64_t, std::uint64_t> state_sums(const std::string& folder) {
  std::map<std::int64_t, std::uint64_t> sums;
  for (const Json& entry : log_of(folder))
    if (entry.contains("state_crc32c")) sums[entry.at("step")] = entry.at("state_crc32c");
  return sums;
}

/// The processes of a run from scratch; they meet at a free port.
std::vector<std::unique_ptr<RunningProgram>> start_two(const std::string& folder, const std::vector<std::string>& more,
                                                       int steps) {
  const std::string port = free_port();
  std::vector<std::unique_ptr<RunningProgram>> processes;
  for (int rank = 0; rank < 2; ++rank) {
    std::vector<std::string> arguments{"RANK=" + std::to_string(rank),
                                       "WORLD_SIZE=2",
                                       "MASTER_ADDR=127.0.0.1",
                                       "MASTER_PORT=" + port,
                                       "OMP_NUM_THREADS=1",
                                       LISA_TINY_PROGRAM,
                                       "train"};
    for (const std::string& argument : scratch_run(folder, more, steps)) arguments.push_back(argument);
    processes.push_back(std::make_unique<RunningProgram>("/usr/bin/env", arguments));
  }
  return processes;
}

constexpr double end_of_patience = 120;  // seconds in which a process must have ended, whatever the machine's load

}  // namespace

TEST_CASE("a run from scratch leaves a checkpoint that answers, and goes on where it was") {
  const TempDir folder;
  const std::string output = folder / "run";
  const ProgramRun run = train(scratch_run(output));
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  CHECK(run.out.find("Memory of one of 1 processes, lisa-tiny") != std::string::npos);
  CHECK(run.out.find("Epoch 2: gIoU") != std::string::npos);
  CHECK(fs::exists(fs::path(output) / "pictures" / "step-00000004.png"));

  const ProgramRun again = train(scratch_run(output, {"--json"}));
  REQUIRE_MESSAGE(again.exit_code == 0, again.err);
  const Json ended = parse_json(again.out, "output");
  CHECK(ended.at("steps") == 4);
  CHECK(ended.at("finished") == true);

  const ProgramRun evaluated =
      run_program(LISA_TINY_PROGRAM, {"eval", "--model", output + "/checkpoint", "--tabletop", "scenes", "--scenes",
                                      "2", "--mode", "teacher-forced", "--output", folder / "eval", "--json"});
  REQUIRE_MESSAGE(evaluated.exit_code == 0, evaluated.err);
  CHECK(parse_json(evaluated.out, "output").at("complete") == true);

  const ProgramRun other = train(scratch_run(output, {"--learning-rate", "0.5"}));
  CHECK(other.exit_code == 5);
  CHECK(other.err.find("learning_rate: found 0.0003, expected 0.5") != std::string::npos);
}

TEST_CASE("adapters train beside a language model in 8 or 4 bits, and are folded into what it stands for") {
  const TempDir folder;
  for (const std::string format : {"int8", "nf4"}) {
    CAPTURE(format);
    const std::string narrow = folder / format, output = folder / (format + "-run");
    const ProgramRun converted =
        run_program(LISA_TINY_PROGRAM, {"convert", shipped_model, "--weights", format, "--output", narrow});
    REQUIRE_MESSAGE(converted.exit_code == 0, converted.err);
    const ProgramRun run =
        train({"--model",   narrow, "--tabletop",     "reasoning", "--scenes",          "4", "--steps",     "2",
               "--batch",   "1",    "--accumulation", "1",         "--steps-per-epoch", "2", "--val-limit", "2",
               "--threads", "1",    "--output",       output});
    REQUIRE_MESSAGE(run.exit_code == 0, run.err);
    const ProgramRun asked =
        run_program(LISA_TINY_PROGRAM,
                    {"segment", "--model", output + "/checkpoint", "--image", demo_picture, "--prompt",
                     "Can you segment the camera in this image?", "--output", folder / (format + "-answer"), "--json"});
    REQUIRE_MESSAGE(asked.exit_code == 0, asked.err);
    CHECK(parse_json(asked.out, "output").at("masks").size() == 1);
  }
  const ProgramRun all = train({"--model", folder / "int8", "--train", "everything", "--tabletop", "reasoning",
                                "--steps", "2", "--output", folder / "all"});
  CHECK(all.exit_code == 6);
  CHECK(all.err.find("quantised, beside which only adapters train") != std::string::npos);
}

TEST_CASE("what cannot be trained is refused in one line, and nothing is left behind") {
  struct Row {
    std::vector<std::string> arguments;
    int exit_code;
    std::string message;
  };
  const TempDir folder;
  const std::string output = folder / "run";
  write_text(folder / "broken.jsonl", "{\"image\": \"missing.png\", \"question\": \"What?\", \"answer\": \"This.\"}\n");
  const std::vector<std::string> tiny{"--from-scratch", "--spec", "lisa-tiny", "--output", output};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), tiny.begin(), tiny.end());
    return more;
  };
  const std::vector<Row> rows{
      {with({}), 6, "found neither --data nor --tabletop"},
      {with({"--data", "x", "--tabletop", "reasoning"}), 6, "found both --data and --tabletop"},
      {with({"--data", folder / "nowhere.jsonl"}), 3, "nowhere.jsonl"},
      {with({"--train", "lora,heads", "--tabletop", "reasoning"}), 6, "found \"heads\", expected lisa, everything"},
      {with({"--decay", "square", "--tabletop", "reasoning"}), 6, "expected one of linear, cosine, constant"},
      {with({"--train", "everything", "--data", folder / "broken.jsonl", "--accumulation", "1"}), 3, "missing.png"},
      {{"--tabletop", "reasoning", "--output", output}, 6, "expected a checkpoint"},
      {{"--model", folder / "nowhere", "--tabletop", "reasoning", "--output", output}, 3, "nowhere/config.json"},
      {{"--steps", "0"}, 2, "--steps"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.message);
    const ProgramRun run = train(row.arguments);
    CHECK(run.exit_code == row.exit_code);
    CHECK_MESSAGE(run.err.find(row.message) != std::string::npos, run.err);
    CHECK(!fs::exists(fs::path(output) / "checkpoint"));
  }
}

TEST_CASE("a run or checkpoint that cannot be written is refused by name before anything is trained") {
  // Where even the superuser can make nothing.
  const TempDir folder;
  write_text(folder / "file", "");
  for (const std::string& place : {std::string("/proc"), (folder / "file").string()}) {
    const ProgramRun run = train(scratch_run(place + "/run"));
    CHECK(run.exit_code == 3);
    CHECK_MESSAGE(run.err.find("error: " + place + "/run: creating the folder: ") == 0, run.err);
    CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
    CHECK(run.out.empty());
    const ProgramRun elsewhere = train(scratch_run(folder / "run", {"--checkpoint", place + "/models/new"}));
    CHECK(elsewhere.exit_code == 3);
    CHECK_MESSAGE(elsewhere.err.find("error: " + place + "/models: creating the folder: ") == 0, elsewhere.err);
    CHECK(elsewhere.out.empty());
    CHECK(!fs::exists(folder / "run"));
  }
}

TEST_CASE("a plan says what a run would hold without running it") {
  const TempDir folder;
  const ProgramRun run = train({"--plan", "--spec", "lisa-tiny", "--train", "everything", "--output", folder / "run"});
  CHECK(run.exit_code == 0);
  for (const char* const part : {"llm", "vision_tower", "image_encoder", "mask_decoder", "total"})
    CHECK(run.out.find(part) != std::string::npos);
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("LISA-7B plans within 24 GB on eight GPUs and on one, and a cache leaves no part out") {
  const auto plan = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"--plan", "--spec", "lisa-7b"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramRun run = train(arguments);
    CHECK_MESSAGE(run.exit_code == 0, run.err);
    return run.out;
  };
  const std::string sharded = plan({"--processes", "8", "--shard-states"});  // the command of docs/training.md
  CHECK(sharded.find("Memory of one of 8 processes, lisa-7b:") == 0);
  CHECK(sharded.find("GB\n") != std::string::npos);
  CHECK(planned(sharded, "total").total < 24);
  CHECK(planned(plan({"--processes", "8"}), "total").total > 24);

  const TempDir folder;
  const std::string cache = folder / "features", plain = plan({}), cached = plan({"--feature-cache", cache});
  CHECK(planned(plain, "total").total < 24);
  CHECK(planned(cached, "total").total < 24);
  for (const char* const part : {"vision_tower", "image_encoder", "total"}) {
    CAPTURE(part);
    CHECK(planned(cached, part).weights > 0.5);
    CHECK(planned(cached, part).weights == planned(plain, part).weights);
  }
  CHECK(!fs::exists(cache));
}

TEST_CASE("two processes share a run and leave one log and one checkpoint") {
  const TempDir folder;
  const std::string output = folder / "run";
  const auto processes = start_two(output, {"--shard-states"}, 4);
  const ProgramRun first = processes[0]->wait(), second = processes[1]->wait();
  for (const ProgramRun& run : {first, second}) CHECK_MESSAGE(run.exit_code == 0, run.err);
  CHECK(second.out.empty());
  CHECK(fs::exists(fs::path(output) / "checkpoint" / "model.safetensors"));
  std::size_t steps = 0;
  for (const Json& entry : log_of(output)) steps += entry.contains("samples") && entry.at("samples") == 2 ? 1 : 0;
  CHECK(steps == 4);
}

TEST_CASE("a process that is killed ends its run by name, and the next run goes on to the same weights") {
  const TempDir folder;
  const std::vector<std::string> more{"--shard-states", "--state-sums", "--save-every", "1"};
  const std::string whole = folder / "whole", pieces = folder / "pieces";
  for (const auto& process : start_two(whole, more, 8)) {
    const ProgramRun run = process->wait();
    REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  }

  const auto killed = start_two(pieces, more, 8);
  const auto logged = [&] {
    const std::string log = fs::exists(pieces + "/log.jsonl") ? read_text(pieces + "/log.jsonl") : "";
    return std::count(log.begin(), log.end(), '\n');
  };
  for (double waited = 0; logged() < 2 && waited < end_of_patience; waited += 0.002) ::usleep(2000);
  killed[1]->signal(SIGKILL);
  const std::optional<ProgramRun> survivor = killed[0]->wait_for(end_of_patience);
  REQUIRE_MESSAGE(survivor.has_value(), "rank 0 did not end");
  CHECK(killed[1]->wait().exit_code == 128 + SIGKILL);
  CHECK(survivor->exit_code == 3);
  // Where it was is as old as its last sign of life, a second at most.
  CHECK_MESSAGE(survivor->err.find("rank 1 stopped answering, last heard of in ") != std::string::npos, survivor->err);
  CHECK(state_sums(pieces).size() < state_sums(whole).size());
  CHECK(!fs::exists(pieces + "/checkpoint"));

  const auto again = start_two(pieces, more, 8);
  const ProgramRun first = again[0]->wait(), second = again[1]->wait();
  for (const ProgramRun& run : {first, second}) REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  CHECK_MESSAGE(first.out.find("Goes on after step ") != std::string::npos, first.out);
  CHECK(state_sums(pieces) == state_sums(whole));
  CHECK(state_sums(whole).size() == 8);
  CHECK(read_text(pieces + "/checkpoint/model.safetensors") == read_text(whole + "/checkpoint/model.safetensors"));
}

TEST_CASE("three minutes of training lower the loss by half and find objects") {
  const TempDir folder;
  const std::string output = folder / "run";
  const ProgramRun run = train({"--from-scratch",
                                "--spec",
                                "lisa-tiny",
                                "--train",
                                "everything",
                                "--tabletop",
                                "pretraining",
                                "--descriptions",
                                "0",
                                "--questions",
                                "6",
                                "--batch",
                                "4",
                                "--accumulation",
                                "1",
                                "--steps",
                                "600",
                                "--learning-rate",
                                "1e-3",
                                "--warmup",
                                "100",
                                "--decay",
                                "cosine",
                                "--dice-weight",
                                "2",
                                "--keep-activations",
                                "--bf16-products",
                                "--steps-per-epoch",
                                "600",
                                "--val-limit",
                                "60",
                                "--threads",
                                "1",
                                "--workers",
                                "1",
                                "--output",
                                output});
  REQUIRE_MESSAGE(run.exit_code == 0, run.err);
  std::vector<double> losses;
  double giou = 0;
  for (const Json& entry : log_of(output)) {
    if (entry.contains("loss")) losses.push_back(entry.at("loss"));
    if (entry.contains("val_giou")) giou = entry.at("val_giou");
  }
  REQUIRE(losses.size() == 600);
  const auto mean = [&](std::size_t begin) {
    return std::accumulate(losses.begin() + static_cast<std::ptrdiff_t>(begin),
                           losses.begin() + static_cast<std::ptrdiff_t>(begin + 20), 0.0) /
           20;
  };
  MESSAGE("loss " << mean(0) << ", then " << mean(580) << ", gIoU " << giou);
  CHECK(mean(580) < 0.5 * mean(0));
  CHECK(giou > 0.12);
}
