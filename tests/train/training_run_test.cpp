#include "lisa/train/training_run.hpp"

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/image/read_image.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/ordinary_user.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/train/run_spec.hpp"
// After libtorch, whose logging defines CHECK.
#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE
#include <doctest/doctest.h>

using namespace lisa;
using namespace lisa::test;

namespace {

constexpr std::size_t corners = 10;  // a step takes 4: epochs end within steps

TrainingOutcome train(const TrainingRunOptions& options, const TrainingObserver& observer = {},
                      std::optional<std::int64_t> broken = std::nullopt, bool validate = true) {
  SingleProcess group;
  const auto loaded = run_model();
  const DataSet validation = corner_data(4);
  return run_training(*loaded, shuffled(corner_data(corners, broken.value_or(-1)), 3), validate ? &validation : nullptr,
                      options, group, observer);
}

/// Checksums of weights and moments after each step, by the log.
std::map<std::int64_t, std::uint64_t> state_sums(const std::filesystem::path& folder) {
  std::map<std::int64_t, std::uint64_t> sums;
  std::ifstream log(folder / "log.jsonl");
  for (std::string line; std::getline(log, line);) {
    const Json entry = parse_json(line, "log");
    if (entry.contains("state_crc32c")) sums[entry.at("step")] = entry.at("state_crc32c");
  }
  return sums;
}

std::vector<double> losses(const std::filesystem::path& folder) {
  std::vector<double> found;
  std::ifstream log(folder / "log.jsonl");
  for (std::string line; std::getline(log, line);)
    if (const Json entry = parse_json(line, "log"); entry.contains("loss")) found.push_back(entry.at("loss"));
  return found;
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a run that is stopped and goes on gives the same weights and moments bit for bit") {
  const TempDir folder;
  CHECK(train(run_options(folder / "whole")).finished);
  const auto whole = state_sums(folder / "whole");
  REQUIRE(whole.size() == 6);

  TrainingRunOptions options = run_options(folder / "pieces");
  for (const int stop_after : {1, 3, 2}) {  // 1, 4 and 6 steps: between states and at one
    int asked = 0;
    options.stop = [&] { return asked++ == stop_after; };
    std::vector<std::string> messages;
    TrainingObserver observer;
    observer.on_start = [&](std::int64_t, const std::vector<std::string>& said) { messages = said; };
    const TrainingOutcome outcome = train(options, observer);
    CHECK(messages.empty());
    CHECK(outcome.finished == (outcome.steps == 6));
  }
  CHECK(state_sums(folder / "pieces") == whole);
  // A finished run does nothing more.
  CHECK(train(run_options(folder / "pieces")).steps == 6);
  CHECK(state_sums(folder / "pieces") == whole);
}

TEST_CASE("a run that is killed at random moments goes on as if it had not been") {
  if (const char* const folder = std::getenv("TEST_FOLDER")) {
    train(run_options(folder));
    ::_exit(0);
  }
  const TempDir folder;
  CHECK(train(run_options(folder / "whole")).finished);
  // TEST_KILLS: more of them than every run of the tests can afford.
  const char* const wanted = std::getenv("TEST_KILLS");
  const int kills = wanted == nullptr ? 4 : std::atoi(wanted);
  int interrupted = 0;
  Random random({static_cast<std::uint64_t>(kills)});
  for (int run = 0; interrupted < kills; ++run) {
    const std::filesystem::path pieces = folder / ("pieces" + std::to_string(run));
    for (bool finished = false; !finished;) {
      ChildProcess process("a run that is killed at random moments goes on as if it had not been",
                           {{"TEST_FOLDER", pieces.string()}}, folder / "output");
      const std::optional<int> code = process.wait(random.uniform(0.02, 1.0));
      finished = code.has_value();
      if (finished) REQUIRE_MESSAGE(code == 0, process.output());
      if (!finished) ++interrupted;  // its destructor kills it
    }
    CHECK(state_sums(pieces) == state_sums(folder / "whole"));
  }
}

TEST_CASE("a run writes log, curves, states, the best of them, and pictures") {
  const TempDir folder;
  TrainingObserver observer;
  std::vector<std::int64_t> steps;
  std::vector<std::pair<std::int64_t, bool>> validations;
  std::vector<std::string> saved;
  observer.on_step = [&](const StepReport& report) { steps.push_back(report.step); };
  observer.on_validation = [&](std::int64_t epoch, const SegmentationScore&, bool best) {
    validations.emplace_back(epoch, best);
  };
  observer.on_saved = [&](const std::filesystem::path& state) { saved.push_back(state.filename().string()); };
  TrainingRunOptions options = run_options(folder.path());
  options.retention = {.last = 1, .best = true};
  const TrainingOutcome outcome = train(options, observer);
  CHECK(steps == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});
  CHECK(validations.size() == 2);
  CHECK(validations.front() == std::pair<std::int64_t, bool>{1, true});
  CHECK(saved == std::vector<std::string>{"step-00000002", "step-00000004", "step-00000006"});
  REQUIRE(outcome.best_score.has_value());
  const std::optional<TrainState> best = read_best_train_state(folder / "states");
  REQUIRE(best.has_value());
  CHECK(*best->score == *outcome.best_score);
  CHECK(read_newest_train_state(folder / "states")->state.step == 6);
  for (const char* const name : {"step-00000004.png", "step-00000006.png"}) {
    const Image picture = read_image((folder / "pictures" / name).string());
    CHECK(picture.width == 3 * 480);
  }
  CHECK(!std::filesystem::is_empty(folder / "events"));
  CHECK(losses(folder.path()).size() == 6);
}

TEST_CASE("a small model learns where the square is") {
  const TempDir folder;
  TrainingRunOptions options = run_options(folder.path());
  options.trainer.parts = everything;
  options.trainer.schedule = {.peak = 3e-3, .warmup = 10, .total = 150, .decay = Decay::cosine};
  options.steps_per_epoch = 150;
  options.accumulation = 1;
  options.batch = 4;
  options.state_sums = false;
  options.save_every = 150;
  const TrainingOutcome outcome = train(options);
  const std::vector<double> found = losses(folder.path());
  CHECK(found.back() < 0.2 * found.front());
  CHECK(*outcome.best_score > 0.6);
}

TEST_CASE("another run's folder is refused with every difference") {
  const TempDir folder;
  CHECK(train(run_options(folder.path())).finished);
  TrainingRunOptions options = run_options(folder.path());
  options.trainer.schedule.peak = 1e-3;
  options.batch = 3;
  const std::string error = error_of([&] { train(options); });
  CHECK(error.find("learning_rate: found 0.003, expected 0.001") != std::string::npos);
  CHECK(error.find("samples_per_step: found 4, expected 6") != std::string::npos);
}

TEST_CASE("a broken sample stops the run by name, or another takes its place and it is counted") {
  const TempDir folder;
  const std::string error = error_of([&] { train(run_options(folder / "stop"), {}, 3); });
  CHECK(error.find("of epoch") != std::string::npos);
  CHECK(error.find("corner3.png: found no picture") != std::string::npos);

  TrainingRunOptions options = run_options(folder / "skip");
  options.broken = BrokenSamples::skip;
  std::vector<std::string> skipped;
  TrainingObserver observer;
  observer.on_skipped = [&](const std::string& message) { skipped.push_back(message); };
  CHECK(train(options, observer, 3).finished);
  REQUIRE(skipped.size() >= 2);  // 24 samples of epochs of 10
  CHECK(skipped.front().find("corner3.png") != std::string::npos);
  const std::string log = read_text(folder / "skip" / "log.jsonl");
  CHECK(log.find("\"skipped\":" + std::to_string(skipped.size())) != std::string::npos);
}

TEST_CASE("a loss that is no number ends the run with the samples' names and keeps the last state") {
  const TempDir folder;
  TrainingRunOptions options = run_options(folder.path());
  const auto loaded = run_model();
  SingleProcess group;
  TrainingObserver observer;
  observer.on_step = [&](const StepReport& report) {
    if (report.step != 3) return;
    const at::NoGradGuard no_gradients;
    loaded->model.llm.lm_head.weight.fill_(std::numeric_limits<float>::quiet_NaN());
  };
  const std::string error =
      error_of([&] { run_training(*loaded, shuffled(corner_data(corners), 3), nullptr, options, group, observer); });
  CHECK(error.find("step 4: found losses ce nan") != std::string::npos);
  CHECK(error.find("from samples corner") != std::string::npos);
  CHECK(read_newest_train_state(folder / "states")->state.step == 2);
  CHECK(train(options).finished);  // and the run goes on from there
}

TEST_CASE("features that are kept on the disk change nothing, and other weights never find them") {
  const TempDir folder;
  CHECK(train(run_options(folder / "computed")).finished);
  TrainingRunOptions options = run_options(folder / "cached");
  options.feature_cache = folder / "features";
  CHECK(train(options).finished);
  const auto files = [&] {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "features")) paths.push_back(entry.path());
    return paths;
  };
  CHECK(files().size() == 4);  // pictures that differ
  const auto approx = [](const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    // Alone and in a batch an image's features may differ in the last bit.
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-4));
  };
  approx(losses(folder / "computed"), losses(folder / "cached"));
  // A second run reads them; a broken file is computed anew.
  write_text(files().front(), "broken");
  options.folder = folder / "again";
  CHECK(train(options).finished);
  CHECK(state_sums(folder / "again") == state_sums(folder / "cached"));
  CHECK(files().size() == 4);

  SingleProcess group;
  const auto other = run_model(/*seed=*/8);
  options.folder = folder / "other";
  CHECK(run_training(*other, shuffled(corner_data(corners), 3), nullptr, options, group).finished);
  CHECK(files().size() == 8);
}

TEST_CASE("numbers that make no run are refused together") {
  const TempDir folder;
  TrainingRunOptions options = run_options(folder.path());
  options.batch = 0;
  options.steps_per_epoch = -1;
  const std::string error = error_of([&] { train(options); });
  CHECK(error.find("batch: found 0, expected at least 1") != std::string::npos);
  CHECK(error.find("steps per epoch: found -1") != std::string::npos);
}

TEST_CASE("a run whose folder cannot be written ends before its first step and leaves everything as it was") {
  namespace fs = std::filesystem;
  const TempDir folder;
  fs::permissions(folder.path(), fs::perms(0777));
  int steps = 0;
  TrainingObserver observer;
  observer.on_step = [&](const StepReport&) { ++steps; };
  const auto refused = [&](const std::string& row, const fs::path& run, const std::string& file) {
    CHECK(broken_promises({.row = row,
                           .kind = ErrorKind::io,
                           .file = file,
                           .words = {"Permission denied"},
                           .unchanged = folder.path()},
                          [&] {
                            const OrdinaryUser user;
                            train(run_options(run), observer);
                          }) == "");
    CHECK(steps == 0);
  };
  fs::create_directory(folder / "closed");
  fs::permissions(folder / "closed", fs::perms(0555));
  refused("new run", folder / "closed/run", "closed/run");
  refused("empty folder", folder / "closed", "closed/states");

  // A run that could be written goes on only where it still can.
  const fs::path run = folder / "run";
  {
    const OrdinaryUser user;
    TrainingRunOptions options = run_options(run);
    int asked = 0;
    options.stop = [&] { return asked++ == 2; };
    CHECK(train(options).steps == 2);
  }
  for (const auto& [path, named] : {std::pair{run / "states", "run/states"},
                                    {run / "events", "run/events"},
                                    {run / "pictures", "run/pictures"},
                                    {run / "log.jsonl", "run/log.jsonl"}}) {
    const fs::perms rights = fs::status(path).permissions();
    fs::permissions(path, rights & ~fs::perms(0222));
    refused(named, run, named);
    fs::permissions(path, rights);
  }
  const OrdinaryUser user;
  CHECK(train(run_options(run)).finished);
}
