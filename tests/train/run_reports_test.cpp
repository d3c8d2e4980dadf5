// torch-free
// What a training run shows: its log, TensorBoard's event files, the progress line and the memory plan. Event files can
// be shown to TensorBoard's own reader too, where it is installed (pip install tensorboard):
//   from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
//   events = EventAccumulator("RUN"); events.Reload(); print(events.Tags(), events.Scalars("train/loss"))
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/config/presets.hpp"
#include "lisa/files/crc32c.hpp"
#include "lisa/image/decode_png.hpp"
#include "lisa/train/memory_plan.hpp"
#include "lisa/train/step_report.hpp"
#include "lisa/train/tensorboard_events.hpp"
#include "lisa/train/training_log.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

namespace fs = std::filesystem;
using lisa::Json;
using lisa::StepReport;
using lisa::test::broken_promises;
using lisa::test::read_text;
using lisa::test::TempDir;

namespace {

StepReport sample_report(std::int64_t step) {
  return {.step = step,
          .ce = 1.5,
          .bce = 0.25,
          .dice = 0.125,
          .learning_rate = 3e-4,
          .gradient_norm = 2.0,
          .samples = 160,
          .seconds = 4,
          .data_seconds = 0.5};
}

// A reader of event files of its own: little-endian records with masked sums, then protocol buffer fields.

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

bool sum_is_right(std::string_view data, std::string_view stored) {
  const auto masked = static_cast<std::uint32_t>(little_endian(stored)) - 0xA282EAD8U;
  return ((masked >> 17) | (masked << 15)) == lisa::crc32c(data);
}

struct Field {
  std::uint64_t number = 0;  ///< of a varint, or the bits of a fixed-size value
  std::string_view bytes;
};

std::uint64_t take_varint(std::string_view& message) {
  std::uint64_t value = 0;
  for (int shift = 0; !message.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(message.front());
    message.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) break;
  }
  return value;
}

std::map<int, Field> fields_of(std::string_view message) {
  std::map<int, Field> fields;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    Field& field = fields[static_cast<int>(key >> 3)];
    const std::uint64_t wire = key & 7;
    if (wire == 0) {
      field.number = take_varint(message);
      continue;
    }
    const std::size_t size = wire == 1 ? 8 : wire == 5 ? 4 : take_varint(message);
    REQUIRE(size <= message.size());
    field.bytes = message.substr(0, size);
    if (wire != 2) field.number = little_endian(field.bytes);
    message.remove_prefix(size);
  }
  return fields;
}

std::vector<std::string_view> records_of(std::string_view file) {
  std::vector<std::string_view> records;
  while (!file.empty()) {
    REQUIRE(file.size() >= 16);
    const std::size_t size = little_endian(file.substr(0, 8));
    REQUIRE(file.size() >= size + 16);
    CHECK(sum_is_right(file.substr(0, 8), file.substr(8, 4)));
    CHECK(sum_is_right(file.substr(12, size), file.substr(12 + size, 4)));
    records.push_back(file.substr(12, size));
    file.remove_prefix(size + 16);
  }
  return records;
}

}  // namespace

TEST_CASE("an event file holds curves and pictures as TensorBoard's formats say") {
  const TempDir folder;
  lisa::Image picture = lisa::make_image({3, 5});
  for (std::size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<std::uint8_t>(5 * i);
  std::string path;
  {
    lisa::TensorBoardEvents events(folder.path(), 1700000000.5, "rank0");
    lisa::write_events(events, sample_report(300), 1700000001.25);
    lisa::write_validation_events(events, 2, 1700000002, 0.5, 0.25);
    events.image("val/samples", 2, 1700000003, picture);
    path = events.file();
  }
  CHECK(fs::path(path).filename() == "events.out.tfevents.1700000000.rank0");
  const std::string content = read_text(path);
  const auto records = records_of(content);
  REQUIRE(records.size() == 12);
  const auto first = fields_of(records[0]);
  CHECK(std::bit_cast<double>(first.at(1).number) == 1700000000.5);
  CHECK(first.at(3).bytes == "brain.Event:2");

  std::map<std::string, float> curves;
  for (std::size_t i = 1; i < 11; ++i) {
    const auto event = fields_of(records[i]);
    const auto value = fields_of(fields_of(event.at(5).bytes).at(1).bytes);
    curves[std::string(value.at(1).bytes)] = std::bit_cast<float>(static_cast<std::uint32_t>(value.at(2).number));
    CHECK(event.at(2).number == (i < 9 ? 300 : 2));
    CHECK(std::bit_cast<double>(event.at(1).number) == (i < 9 ? 1700000001.25 : 1700000002.0));
  }
  CHECK(curves == std::map<std::string, float>{{"train/loss", 1.875F},
                                               {"train/ce_loss", 1.5F},
                                               {"train/mask_bce_loss", 0.25F},
                                               {"train/mask_dice_loss", 0.125F},
                                               {"train/mask_loss", 0.375F},
                                               {"train/lr", 3e-4F},
                                               {"metrics/total_secs_per_batch", 4.0F},
                                               {"metrics/data_secs_per_batch", 0.5F},
                                               {"val/giou", 0.5F},
                                               {"val/ciou", 0.25F}});
  const auto value = fields_of(fields_of(fields_of(records[11]).at(5).bytes).at(1).bytes);
  CHECK(value.at(1).bytes == "val/samples");
  const auto image = fields_of(value.at(4).bytes);
  CHECK(image.at(1).number == 3);
  CHECK(image.at(2).number == 5);
  CHECK(image.at(3).number == 3);
  const std::string_view png = image.at(4).bytes;
  CHECK(lisa::decode_png({reinterpret_cast<const std::uint8_t*>(png.data()), png.size()}, "image") == picture);
}

TEST_CASE("a resumed run's log goes on behind the step that it resumes from") {
  const TempDir folder;
  const fs::path path = folder / "log.jsonl";
  {
    lisa::TrainingLog log(path, 0);
    for (int step = 1; step <= 5; ++step) log.append(to_json(sample_report(step)));
    log.append({{"step", 5}, {"val", {{"giou", 0.5}}}});
  }
  const std::string whole = read_text(path);
  lisa::test::write_text(path, whole + R"({"step":6,"lo)");  // torn by a power cut
  {
    const lisa::TrainingLog log(path, 5);
  }
  CHECK(read_text(path) == whole);
  {
    lisa::TrainingLog log(path, 3);
    log.append(to_json(sample_report(4)));
  }
  CHECK(whole.starts_with(read_text(path)));
  CHECK(Json::parse(whole.substr(0, whole.find('\n')))["loss"] == 1.875);
  {
    const lisa::TrainingLog log(path, 0);
  }
  CHECK(read_text(path).empty());

  lisa::test::write_text(path, "{\"step\":1}\nno json\n");
  CHECK(broken_promises({.row = "line 2",
                         .kind = lisa::ErrorKind::format,
                         .file = "log.jsonl:2",
                         .words = {},
                         .unchanged = folder.path()},
                        [&] { lisa::TrainingLog(path, 9); }) == "");
  CHECK(broken_promises({.row = "device", .kind = lisa::ErrorKind::io, .file = "/dev/full", .words = {"a device"}},
                        [&] { lisa::TrainingLog("/dev/full", 0); }) == "");
}

TEST_CASE("a log that cannot grow reports it and stays whole") {
  const TempDir folder;
  lisa::TrainingLog log(folder / "log.jsonl", 0);
  CHECK(broken_promises({.row = "text",
                         .kind = lisa::ErrorKind::input,
                         .file = "log.jsonl",
                         .words = {"UTF-8"},
                         .unchanged = folder.path()},
                        [&] { log.append({{"step", 1}, {"note", "\xFF"}}); }) == "");
}

TEST_CASE("the progress line shows parts, rate, waiting and time left") {
  lisa::ProgressLine line(100);
  CHECK(line.text().empty());
  line.add(sample_report(10));
  CHECK(line.text() ==
        "10/100, loss 1.875 (ce 1.500, bce 0.250, dice 0.125), lr 3.0e-04, 40.0 samples/s, data wait 12 %, 6 min 00 s "
        "left");
  StepReport faster = sample_report(11);
  faster.seconds = 2;
  line.add(faster);
  CHECK(line.samples_per_second() == doctest::Approx(160 / 3.0));
  CHECK(line.seconds_left() == doctest::Approx(3.0 * 89));
  for (int step = 12; step <= 100; ++step) line.add(sample_report(step));
  CHECK(line.seconds_left() == 0);
}

TEST_CASE("the memory plan counts what the presets have and train") {
  const lisa::SpecConfigs spec = lisa::spec_configs<lisa::Lisa7B>();
  const lisa::MemoryPlan plan = lisa::plan_memory(spec, lisa::lisa_recipe, {});
  std::map<std::string_view, lisa::MemoryPlanRow> rows;
  for (const lisa::MemoryPlanRow& row : plan.rows) rows[row.name] = row;
  // The published counts: adapters, two tables, the [SEG] projection; the rest of the model stands still.
  CHECK(rows["llm"].trained == 4'194'304 + 2 * 131'088'384);
  CHECK(rows["seg_projector"].trained == 17'830'144);
  CHECK(rows["mask_decoder"].trained == lisa::mask_decoder_parameters(spec.sam));
  CHECK(rows["vision_tower"].trained + rows["visual_projector"].trained + rows["image_encoder"].trained == 0);
  CHECK(plan.sum().parameters == lisa::parameters(spec.llm) + 4'194'304 + lisa::parameters(spec.vision) +
                                     lisa::parameters(spec.sam) + 1024 * 4096 + 4096 + 17'830'144);
  CHECK(plan.sum().weights == 2.0 * static_cast<double>(plan.sum().parameters));
  CHECK(plan.sum().states == 12.0 * static_cast<double>(plan.sum().trained));
  CHECK(plan.sum().gradients == 6.0 * static_cast<double>(plan.sum().trained));

  const lisa::SpecConfigs larger = lisa::spec_configs<lisa::Lisa13BLlama2>();
  const lisa::MemoryPlan of_larger = lisa::plan_memory(larger, lisa::lisa_recipe, {.element_bytes = 4});
  CHECK(of_larger.rows[0].trained == 6'553'600 + 2 * 163'855'360);
  CHECK(of_larger.sum().states == 8.0 * static_cast<double>(of_larger.sum().trained));
  const lisa::MemoryPlan from_scratch = lisa::plan_memory(spec, lisa::everything, {});
  CHECK(from_scratch.sum().trained == plan.sum().parameters - 4'194'304 - lisa::prompt_encoder_parameters(spec.sam));
}

TEST_CASE("each option changes the plan where it should") {
  const lisa::SpecConfigs spec = lisa::spec_configs<lisa::Lisa7B>();
  const auto total = [&](const lisa::MemoryPlanOptions& options) {
    return lisa::plan_memory(spec, lisa::lisa_recipe, options).sum();
  };
  const lisa::MemoryPlanRow plain = total({});
  // A cache takes no part out of memory; its threads hold an image each where a step holds a batch.
  const lisa::MemoryPlanRow cached = total({.cache_workers = 1});
  CHECK(cached.weights == plain.weights);
  CHECK(cached.activations < plain.activations);
  CHECK(total({.cache_workers = 2}).activations == plain.activations);
  CHECK(total({.cache_workers = 4}).activations > plain.activations);
  CHECK(lisa::plan_memory(spec, lisa::everything, {.cache_workers = 1}).total() ==
        lisa::plan_memory(spec, lisa::everything, {}).total());  // what trains is never cached
  CHECK(total({.gradient_checkpointing = false}).activations > 3 * plain.activations);
  CHECK(total({.batch = 4}).activations > 1.8 * plain.activations);
  const lisa::MemoryPlanRow eight = total({.processes = 8}), sharded = total({.processes = 8, .sharded_states = true});
  CHECK(eight.states == plain.states);
  CHECK(eight.gradients == plain.gradients + 4.0 * static_cast<double>(plain.trained));
  CHECK(sharded.states == 12.0 * 131'088'384);  // no less than the largest tensor
  CHECK(broken_promises(
            {.row = "numbers",
             .kind = lisa::ErrorKind::input,
             .words = {"4 numbers", "batch: found 0", "processes: found 0",
                       "cache workers: found -1, expected at least 0", "positions: found 5000, expected at most 2048"}},
            [&] { static_cast<void>(total({.batch = 0, .positions = 5000, .processes = 0, .cache_workers = -1})); }) ==
        "");
}

TEST_CASE("LISA-7B trains within 24 GB, on eight GPUs and on one") {
  const lisa::SpecConfigs spec = lisa::spec_configs<lisa::Lisa7B>();
  const lisa::MemoryPlan eight =
      lisa::plan_memory(spec, lisa::lisa_recipe, {.batch = 2, .processes = 8, .sharded_states = true});
  MESSAGE("8 processes, batch 2, states sharded:\n" << to_text(eight));
  CHECK(eight.total() < 24e9);
  CHECK(lisa::plan_memory(spec, lisa::lisa_recipe, {.batch = 2, .processes = 8}).total() > 24e9);
  const lisa::MemoryPlan one = lisa::plan_memory(spec, lisa::lisa_recipe, {.batch = 2, .cache_workers = 2});
  MESSAGE("1 process, batch 2, features cached:\n" << to_text(one));
  CHECK(one.total() < 24e9);
  const std::string table = to_text(one);
  CHECK(std::count(table.begin(), table.end(), '\n') == 8);
  CHECK(table.find("llm") != std::string::npos);
  CHECK(table.find("GB") != std::string::npos);
}
