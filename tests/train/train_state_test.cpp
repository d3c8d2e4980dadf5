#include "lisa/train/train_state.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "lisa/files/crc32c.hpp"
#include "lisa/train/train_state_files.hpp"
#include "lisa/train/train_state_store.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/file_faults.hpp"
#include "tests/support/power_loss.hpp"
#include "tests/support/temp_dir.hpp"

#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE
#include <doctest/doctest.h>

namespace fs = std::filesystem;
using lisa::ErrorKind;
using lisa::Json;
using lisa::NamedTensors;
using lisa::NewestState;
using lisa::TrainState;
using lisa::TrainStateStore;
using lisa::test::broken_promises;
using lisa::test::Fault;
using lisa::test::TempDir;

namespace {

/// A small state of which every number depends on the step.
TrainState sample_state(std::int64_t step, std::int64_t elements = 40) {
  TrainState state;
  state.step = step;
  state.epoch = step / 10;
  state.sample_index = 7 * step;
  state.accumulation_phase = step % 3;
  state.scheduler_position = step;
  state.seeds = {{"data", 0xFFFFFFFFFFFFFFFFU}, {"dropout", static_cast<std::uint64_t>(step)}};
  state.best_score = 0.1 + 1.0 / static_cast<double>(step + 1);
  state.run = {{"config", "a1b2"}, {"lora_rank", 8}, {"world_size", 2}};
  const at::Tensor ramp = at::arange(elements, at::kFloat).add(static_cast<double>(step)).div(7.0);
  state.tensors["weights"] = {{"block.0.weight", ramp.to(at::kBFloat16).view({-1, 4})},
                              {"block.0.bias", at::zeros({0}, at::kBFloat16)}};
  state.tensors["master"] = {{"block.0.weight", ramp.view({-1, 4})}};
  state.tensors["second_moment"] = {
      {"block.0.weight", at::full({2}, -std::numeric_limits<float>::quiet_NaN(), at::kFloat)}};
  state.tensors["random"] = {{"cpu", at::full({16}, step, at::kByte)}};
  return state;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(), a.nbytes()) == 0;
}

/// The first difference in words; "" for equal states.
std::string difference(const TrainState& a, const TrainState& b) {
  if (lisa::detail::state_numbers(a) != lisa::detail::state_numbers(b)) return "numbers";
  if (a.tensors.size() != b.tensors.size()) return "groups";
  for (const auto& [group, tensors] : a.tensors) {
    const auto other = b.tensors.find(group);
    if (other == b.tensors.end() || other->second.size() != tensors.size()) return group;
    for (std::size_t i = 0; i < tensors.size(); ++i)
      if (tensors[i].first != other->second[i].first || !same_bits(tensors[i].second, other->second[i].second))
        return group + "/" + tensors[i].first;
  }
  return "";
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.path().filename() != ".lock") names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string manifest_of(const fs::path& state) { return lisa::test::read_text(state / "manifest.json"); }

/// Writes a manifest whose checksum is right for its changed content.
void rewrite_manifest(const fs::path& state, const std::function<void(Json&)>& change) {
  Json manifest = lisa::parse_json(manifest_of(state), "manifest");
  change(manifest["state"]);
  manifest["crc32c"] = lisa::crc32c(manifest["state"].dump());
  lisa::test::write_text(state / "manifest.json", manifest.dump());
}

}  // namespace

TEST_CASE("CRC-32C gives the published sums, in one piece or several") {
  CHECK(lisa::crc32c(std::string_view()) == 0);
  CHECK(lisa::crc32c("123456789") == 0xE3069283);
  CHECK(lisa::crc32c(std::string(32, '\0')) == 0x8A9136AA);  // RFC 3720, B.4
  CHECK(lisa::crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
  for (std::size_t cut = 0; cut <= 9; ++cut)
    CHECK(lisa::crc32c(std::string_view("123456789").substr(cut),
                       lisa::crc32c(std::string_view("123456789").substr(0, cut))) == 0xE3069283);
}

TEST_CASE("a training state comes back bit for bit") {
  const TempDir folder;
  TrainState state = sample_state(12);
  state.score = -0.0;
  lisa::write_train_state(folder.path(), state);
  CHECK(difference(state, lisa::read_train_state(folder.path())) == "");
  CHECK(std::signbit(*lisa::read_train_state(folder.path()).score));
  CHECK(lisa::read_train_state_numbers(folder.path()).step == 12);
}

TEST_CASE("the newest states and the best one stay, older ones go") {
  const TempDir folder;
  TrainStateStore store(folder / "states", {.last = 2, .best = true});
  for (const auto& [step, score] : {std::pair{10, 0.3}, {20, 0.7}, {30, 0.5}, {40, 0.6}}) {
    TrainState state = sample_state(step);
    state.score = score;
    CHECK(store.save(state) == folder / "states" / ("step-000000" + std::to_string(step)));
  }
  CHECK(names_in(folder / "states") == std::vector<std::string>{"step-00000020", "step-00000030", "step-00000040"});
  const auto newest = lisa::read_newest_train_state(folder / "states");
  REQUIRE(newest);
  CHECK(newest->state.step == 40);
  CHECK(newest->passed_over.empty());
  CHECK(!lisa::read_newest_train_state(folder / "nothing"));
}

TEST_CASE("a clock that goes backwards changes nothing: the newest state has the most steps") {
  const TempDir folder;
  const auto now = fs::file_time_type::clock::now();
  TrainStateStore store(folder.path(), {.last = 2, .best = true});
  for (const int step : {1, 2, 3, 4, 5}) {
    TrainState state = sample_state(step);
    state.score = step == 3 ? 0.9 : 0.5;
    const fs::path saved = store.save(state);
    // Each was written a day before the one that came before it.
    const auto time = now - std::chrono::hours(24 * step);
    for (const fs::directory_entry& entry : fs::directory_iterator(saved)) fs::last_write_time(entry.path(), time);
    fs::last_write_time(saved, time);
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"step-00000003", "step-00000004", "step-00000005"});
  CHECK(fs::last_write_time(folder / "step-00000005") < fs::last_write_time(folder / "step-00000003"));
  const auto newest = lisa::read_newest_train_state(folder.path());
  REQUIRE(newest);
  CHECK(newest->state.step == 5);
  CHECK(newest->passed_over.empty());
  CHECK(lisa::read_best_train_state(folder.path())->step == 3);
}

TEST_CASE("a state that is loaded stays as it was when later saves remove its files") {
  const TempDir folder;
  TrainStateStore store(folder.path(), {.last = 1, .best = false});
  store.save(sample_state(1, 400'000));
  const auto loaded = lisa::read_newest_train_state(folder.path());
  store.save(sample_state(2, 400'000));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"step-00000002"});
  CHECK(difference(loaded->state, sample_state(1, 400'000)) == "");
}

TEST_CASE("every truncation and every changed byte of a state is noticed or harmless") {
  const TempDir folder;
  const TrainState state = sample_state(3);
  lisa::write_train_state(folder.path(), state);
  int harmless = 0, noticed = 0;
  for (const char* const name : {"manifest.json", "weights.safetensors", "random.safetensors"}) {
    const std::string content = lisa::test::read_text(folder / name);
    const auto judge = [&](const std::string& changed) {
      lisa::test::write_text(folder / name, changed);
      try {
        const std::string found = difference(state, lisa::read_train_state(folder.path()));
        if (found.empty()) ++harmless;
        if (!found.empty()) FAIL_CHECK(name << ": a change of " << found << " went unnoticed");
      } catch (const lisa::Error& error) {
        ++noticed;
        if (std::string(error.what()).find(folder.path().string()) == std::string::npos) FAIL_CHECK(error.what());
      }
    };
    for (std::size_t size = 0; size < content.size(); ++size) judge(content.substr(0, size));
    for (std::size_t i = 0; i < content.size(); ++i) {
      std::string changed = content;
      changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
      judge(changed);
    }
    lisa::test::write_text(folder / name, content);
  }
  CHECK(noticed > 2000);
  CHECK(harmless < noticed / 10);  // white space of the manifest
}

TEST_CASE("a state that cannot be resumed from is refused with every reason, or an older one is taken") {
  const TempDir folder;
  const auto broken = [&](const std::string& row, ErrorKind kind, std::vector<std::string> words) {
    const fs::path state = folder / "step-00000005";
    words.push_back(state.filename().string());
    return broken_promises({.row = row,
                            .kind = kind,
                            .file = folder.path().string(),
                            .words = std::move(words),
                            .unchanged = folder.path()},
                           [&] { static_cast<void>(lisa::read_train_state(state)); });
  };
  const auto fresh = [&] {
    fs::remove_all(folder / "step-00000005");
    fs::create_directory(folder / "step-00000005");
    lisa::write_train_state(folder / "step-00000005", sample_state(5));
    return folder / "step-00000005";
  };
  fs::create_directory(folder / "step-00000005");
  CHECK(broken("no manifest", ErrorKind::io, {"manifest.json", "No such file"}) == "");
  fs::remove(fresh() / "master.safetensors");
  CHECK(broken("manifest without data", ErrorKind::io, {"master.safetensors", "No such file"}) == "");
  rewrite_manifest(fresh(), [](Json& state) { state["version"] = 2; });
  CHECK(broken("later version", ErrorKind::mismatch, {"version", "found 2, expected at most 1"}) == "");
  rewrite_manifest(fresh(), [](Json& state) { state["step"] = -1, state["epoch"] = "x", state.erase("run"); });
  CHECK(broken("bad numbers", ErrorKind::format, {"3 defects", "step: found the number -1", "epoch", "run: missing"}) ==
        "");
  rewrite_manifest(fresh(), [](Json& state) { state["files"][0]["group"] = "../../evil"; });
  CHECK(broken("path in a name", ErrorKind::format, {"../../evil", "lower-case"}) == "");
  rewrite_manifest(fresh(), [](Json& state) { state["files"][0]["tensors"][0]["name"] = "other"; });
  CHECK(broken("moment under another name", ErrorKind::format,
               {"master.safetensors", "\"other\"", "missing", "\"block.0.weight\""}) == "");
  rewrite_manifest(fresh(), [](Json& state) { state["files"][0]["tensors"][0]["shape"] = {1}; });
  CHECK(broken("other shape", ErrorKind::format, {"found F32 [10, 4], expected F32 [1]"}) == "");
  rewrite_manifest(fresh(), [](Json& state) { state["files"][0] = 5; });
  CHECK(broken("no entry", ErrorKind::format, {"files"}) == "");
  lisa::test::write_text(fresh() / "manifest.json", "[]");
  CHECK(broken("no object", ErrorKind::format, {"manifest"}) == "");

  // The next older one is taken, with the reasons.
  fs::create_directory(folder / "step-00000004");
  lisa::write_train_state(folder / "step-00000004", sample_state(4));
  fs::create_directory(folder / "step-00000007");
  lisa::write_train_state(folder / "step-00000007", sample_state(4));  // its name says 7
  const auto newest = lisa::read_newest_train_state(folder.path());
  REQUIRE(newest);
  CHECK(newest->state.step == 4);
  REQUIRE(newest->passed_over.size() == 2);
  CHECK(newest->passed_over[0].find("step-00000007: step: found 4, expected 7") != std::string::npos);
  CHECK(newest->passed_over[1].find("step-00000005/manifest.json") != std::string::npos);

  fs::remove_all(folder / "step-00000004");
  CHECK(broken_promises({.row = "none complete",
                         .kind = ErrorKind::format,
                         .file = folder.path().string(),
                         .words = {"no complete training state", "2 broken ones"}},
                        [&] { static_cast<void>(lisa::read_newest_train_state(folder.path())); }) == "");
}

TEST_CASE("resuming under other settings names every difference") {
  const TrainState state = sample_state(50);
  lisa::ResumeDemands demands{.run = state.run, .steps = 100, .tensors = {}};
  for (const auto& [group, tensors] : state.tensors) demands.tensors[group] = lisa::detail::describe_all(tensors);
  CHECK_NOTHROW(lisa::require_resumable(state, demands, "s"));

  demands.run["lora_rank"] = 16;
  demands.run["world_size"] = 4;
  demands.run["samples"] = 1000;
  demands.steps = 49;
  demands.tensors["random"][0].shape = {5056};
  demands.tensors["first_moment"] = demands.tensors["master"];
  demands.tensors["master"].clear();
  CHECK(
      broken_promises({.row = "149",
                       .kind = ErrorKind::mismatch,
                       .file = "states/step-00000050",
                       .words = {"7 differences", "lora_rank: found 8, expected 16", "world_size: found 2, expected 4",
                                 "samples: missing, expected 1000", "step: found 50, expected at most 49",
                                 "random: tensor \"cpu\": found U8 [16], expected U8 [5056]",
                                 "first_moment: tensor \"block.0.weight\": missing", "master: tensor"}},
                      [&] { lisa::require_resumable(state, demands, "states/step-00000050"); }) == "");
}

TEST_CASE("targets that cannot hold states are refused and left alone") {
  const TempDir folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  lisa::test::write_text(folder / "file", "x");
  fs::create_symlink("/dev/full", folder / "to_device");
  fs::create_symlink("nothing", folder / "to_nothing");
  for (const std::string& path :
       {(folder / "fifo").string(), (folder / "file").string(), (folder / "to_device").string(),
        (folder / "to_nothing").string(), std::string("/dev/full"), (folder / "file/below").string()})
    CHECK(broken_promises({.row = path, .kind = ErrorKind::io, .file = path, .words = {}, .unchanged = folder.path()},
                          [&] { TrainStateStore{path}; }) == "");
  CHECK(broken_promises({.row = "none to keep", .kind = ErrorKind::input, .words = {"found 0"}},
                        [&] { TrainStateStore(folder / "new", {.last = 0}); }) == "");
  TrainStateStore store(folder / "states");
  for (const char* const name : {"step-00000001", "step-00000002"})
    lisa::test::write_text(folder / "states" / name, "");
  fs::remove(folder / "states/step-00000002");
  fs::create_symlink("/dev/full", folder / "states/step-00000002");
  for (const int step : {1, 2})
    CHECK(broken_promises({.row = std::to_string(step),
                           .kind = ErrorKind::io,
                           .file = "step-0000000" + std::to_string(step),
                           .words = {"expected a new name"},
                           .unchanged = folder.path()},
                          [&] { store.save(sample_state(step)); }) == "");
  TrainState state = sample_state(3);
  state.tensors["../up"] = {};
  CHECK(broken_promises({.row = "group", .kind = ErrorKind::input, .words = {"../up"}, .unchanged = folder.path()},
                        [&] { store.save(state); }) == "");
  state = sample_state(3);
  state.run["name"] = "\xFF";
  CHECK(broken_promises({.row = "text", .kind = ErrorKind::input, .words = {"UTF-8"}, .unchanged = folder.path()},
                        [&] { store.save(state); }) == "");
}

TEST_CASE("one folder has one saver at a time, and a complete state is never replaced") {
  const TempDir folder;
  auto store = std::make_unique<TrainStateStore>(folder / "states");
  store->save(sample_state(1));
  CHECK(broken_promises({.row = "150",
                         .kind = ErrorKind::io,
                         .file = "states",
                         .words = {"another process"},
                         .unchanged = folder.path()},
                        [&] { TrainStateStore{folder / "states"}; }) == "");
  CHECK(broken_promises({.row = "same step",
                         .kind = ErrorKind::input,
                         .file = "step-00000001",
                         .words = {"a complete training state"},
                         .unchanged = folder.path()},
                        [&] { store->save(sample_state(1)); }) == "");
  fs::remove(folder / "states/step-00000001/manifest.json");
  CHECK_NOTHROW(store->save(sample_state(1)));  // a broken one is
  store.reset();
  CHECK_NOTHROW(TrainStateStore{folder / "states"});
}

TEST_CASE("what an interrupted save left behind is cleaned up and reported") {
  const TempDir folder;
  {
    TrainStateStore(folder.path()).save(sample_state(1));
  }
  fs::create_directories(folder / ".step-00000002.tmp/below");
  fs::create_directories(folder / ".step-00000001.removed.tmp");
  fs::create_directories(folder / "step-of-a-user");
  lisa::test::write_text(folder / "notes.txt", "kept");
  const TrainStateStore store(folder.path());
  CHECK(store.cleaned().size() == 2);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"notes.txt", "step-00000001", "step-of-a-user"});
}

TEST_CASE("a failure of any single file operation loses no state, is reported, and leaves nothing behind") {
  const TempDir folder;
  const TrainState before = sample_state(2), after = sample_state(3);
  int injections = 0;
  struct Kind {
    Fault fault;
    int code;
  };
  for (const Kind kind : {Kind{Fault::error, ENOSPC},
                          {Fault::error, EIO},
                          {Fault::error, EDQUOT},
                          {Fault::error, EFBIG},
                          {Fault::error, EXDEV},
                          {Fault::error, EINTR},
                          {Fault::short_write, EIO},
                          {Fault::persistent, ENOSPC},
                          {Fault::kill, 0}}) {
    for (int at = 0;; ++at) {
      const fs::path states = folder / "states";
      fs::remove_all(states);
      {
        TrainStateStore store(states, {.last = 2, .best = false});
        store.save(sample_state(1));
        store.save(before);
      }
      bool happened = false, reported = false;
      if (kind.fault == Fault::kill) {
        const pid_t child = ::fork();
        if (child == 0) {
          TrainStateStore store(states, {.last = 2, .best = false});
          const lisa::test::ArmedFaults armed({kind.fault, at, 0});
          store.save(after);
          ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        happened = reported = WIFSIGNALED(status);
      } else {
        TrainStateStore store(states, {.last = 2, .best = false});
        const lisa::test::ArmedFaults armed({kind.fault, at, kind.code});
        try {
          store.save(after);
        } catch (const lisa::IoError& error) {
          reported = std::string(error.what()).find(states.string()) != std::string::npos;
        }
        happened = armed.happened();
      }
      if (!happened) break;
      ++injections;
      const auto newest = lisa::read_newest_train_state(states);
      if (!newest || !newest->passed_over.empty() ||
          (difference(newest->state, before) != "" && difference(newest->state, after) != ""))
        FAIL_CHECK("operation " << at << ", code " << kind.code << ": a state was lost");
      // A failing close after fsync has lost nothing, nor has a short write that is followed by the rest.
      if (!reported && difference(newest->state, after) != "")
        FAIL_CHECK("operation " << at << ", code " << kind.code << ": the failure was not reported");
      // Nothing can be removed while every operation fails, or by a killed process: the next store does it.
      if (kind.fault != Fault::persistent && kind.fault != Fault::kill)
        for (const std::string& name : names_in(states))
          if (name.starts_with(".") && !name.ends_with(".removed.tmp"))
            FAIL_CHECK("operation " << at << ": left " << name);
      const TrainStateStore next(states);
      for (const std::string& name : names_in(states))
        if (name.starts_with(".")) FAIL_CHECK("operation " << at << ": the next store left " << name);
    }
  }
  MESSAGE(injections << " failures injected");
  CHECK(injections > 9 * 30);
}

TEST_CASE("a loss of power at any moment leaves a complete state, whatever of the unfinished work was written") {
  const TempDir folder;
  const fs::path states = folder / "states";
  const TrainState before = sample_state(2), after = sample_state(3);
  lisa::test::FolderImage image;
  std::vector<lisa::test::FileOperation> operations;
  {
    TrainStateStore store(states, {.last = 1, .best = false});
    store.save(before);
    image = lisa::test::folder_image(states);
    const lisa::test::RecordedOperations recorded;
    store.save(after);
    operations = recorded.list();
  }
  int broken = 0, with_before = 0, with_after = 0;
  const auto judge = [&](const lisa::test::FolderImage& left) {
    lisa::test::materialise(left, states);
    try {
      const auto newest = lisa::read_newest_train_state(states);
      if (!newest || !newest->passed_over.empty()) {
        ++broken;
        return;
      }
      with_before += difference(newest->state, before) == "" ? 1 : 0;
      with_after += difference(newest->state, after) == "" ? 1 : 0;
    } catch (const lisa::Error&) {
      ++broken;
    }
  };
  const int count = lisa::test::for_each_power_loss(image, operations, judge);
  MESSAGE(count << " states after a loss of power, " << with_before << " with the state before");
  CHECK(broken == 0);
  CHECK(with_before + with_after == count);
  CHECK(with_before > 100);
  CHECK(with_after > 10);

  // The model of a power loss is able to find one: without any request to write, names arrive before contents.
  std::erase_if(operations,
                [](const auto& operation) { return operation.kind == lisa::test::FileOperation::Kind::sync; });
  const auto renamed = std::find_if(operations.begin(), operations.end(), [&](const auto& operation) {
    return operation.other == (states / "step-00000003").string();
  });
  operations.erase(renamed + 1, operations.end());
  lisa::test::for_each_power_loss(image, operations, judge, /*most_open=*/4);
  CHECK(broken > 0);
}

TEST_CASE("a file size limit gives an error, not the end of the process, and the state before stays") {
  const TempDir folder;
  TrainStateStore(folder.path()).save(sample_state(1));
  const TrainState large = sample_state(2, 100'000);  // made here: OpenMP's threads do not survive a fork
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{1 << 16, 1 << 16};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      TrainStateStore(folder.path()).save(large);
    } catch (const lisa::IoError& error) {
      ::_exit(std::string(error.what()).find("File too large") != std::string::npos ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"step-00000001"});
}

TEST_CASE("a saver that is killed at random moments never loses a complete state") {
  const TempDir folder;
  const fs::path states = folder / "states";
  TrainState state = sample_state(1, 200'000);  // made here: OpenMP's threads do not survive a fork
  TrainStateStore(states).save(state);
  std::int64_t reached = 1;
  for (int kill = 0; kill < 12; ++kill) {
    const pid_t child = ::fork();
    if (child == 0) {
      TrainStateStore store(states);
      for (;;) {
        ++state.step;
        store.save(state);
      }
    }
    ::usleep(static_cast<useconds_t>(1000 + 7919 * kill % 40'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    const auto newest = lisa::read_newest_train_state(states);
    REQUIRE(newest);
    CHECK(newest->passed_over.empty());
    CHECK(newest->state.step >= reached);
    reached = state.step = newest->state.step;
    CHECK(difference(newest->state, state) == "");
  }
}
