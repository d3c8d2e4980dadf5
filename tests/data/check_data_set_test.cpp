// torch-free
#include "lisa/data/check_data_set.hpp"

#include <string>
#include <vector>

#include "lisa/data/contact_sheet.hpp"
#include "lisa/data/find_data_sets.hpp"
#include "lisa/data/lisa_mixture.hpp"
#include "lisa/data/open_data_set.hpp"
#include "lisa/image/encode_png.hpp"
#include "lisa/image/write_png.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;
namespace fs = std::filesystem;

namespace {

/// Mask of an image of 2 x 2 pixels.
LabelMask mask(std::vector<std::uint8_t> labels) { return {{2, 2}, std::move(labels)}; }

Sample sample(const std::string& id, std::vector<Dialogue> dialogues) {
  return {id, make_image({2, 2}), std::move(dialogues)};
}

OpenedDataSet set_of(std::vector<Sample> samples) {
  const std::size_t size = samples.size();
  return {{"made", size,
           [samples = std::move(samples)](std::size_t index, Random&) {
             if (samples[index].id.empty()) throw FormatError("broken.jpg", "", "found nothing, expected a picture");
             return samples[index];
           }},
          {"a.json: found no picture"}};
}

bool says(const Defects& defects, const std::string& text) {
  return defects.report("x").find(text) != std::string::npos;
}

void write(const fs::path& file, const std::string& content) {
  fs::create_directories(file.parent_path());
  test::write_text(file, content);
}

void picture(const fs::path& file) {
  fs::create_directories(file.parent_path());
  write_png(file, make_image({4, 4}));
}

}  // namespace

TEST_CASE("a report counts what is there and lists everything that is wrong") {
  const Dialogue good{
      {{"Where?", "[SEG]."}, {"And?", "It is [SEG]."}}, {mask({1, 0, 0, 0}), mask({1, 1, 255, 1})}, "g"};
  const Dialogue absent{{{"Where?", "[SEG]."}}, {mask({0, 0, 255, 0})}, {}};
  const Dialogue unknown{{{"Where?", "[SEG]."}}, {mask({255, 255, 255, 255})}, {}};
  const Dialogue words{{{"Why?", "So."}}, {}, "talk"};
  const Dialogue no_mask{{{"Where?", "[SEG]."}}, {}, {}}, wrong_size{{{"?", "[SEG]"}}, {{{1, 2}, {0, 0}}}, {}};
  const Dialogue no_text{{{"", "<image>"}}, {}, {}}, nothing{};
  const OpenedDataSet opened =
      set_of({sample("one", {good, absent}), sample("", {}), sample("two", {unknown, words}), sample("one", {words}),
              sample("bad", {no_mask, wrong_size, no_text, nothing}), sample("none", {})});
  for (const int threads : {1, 3}) {
    const DataReport report = check_data_set(opened, {.threads = threads, .seed = 0, .progress = {}});
    CHECK(report.samples == 6);
    CHECK(report.readable == 5);
    CHECK(report.dialogues == 9);
    CHECK(report.masks == 4);
    CHECK(report.empty_masks == 2);
    CHECK(report.ignored_masks == 1);
    CHECK(report.foreground == doctest::Approx((0.25 + 0.75) / 2));
    CHECK(report.smallest_mask == 1);
    CHECK(report.smallest_image == 4);
    CHECK(report.groups.at("g") == 1);
    CHECK(report.groups.at("talk") == 2);
    CHECK(report.defects.count() == 7);
    CHECK(says(report.defects, "sample 1: broken.jpg"));
    CHECK(says(report.defects, "sample 4 (bad): conversation 1: 0 masks for 1 [SEG]"));
    CHECK(says(report.defects, "conversation 2: mask 1 is 2x1, the image 2x2"));
    CHECK(says(report.defects, "conversation 3: nothing in the question"));
    CHECK(says(report.defects, "\"<image>\" in the answer"));
    CHECK(says(report.defects, "conversation 4: no question"));
    CHECK(says(report.defects, "sample 5 (none): no conversation"));
    CHECK(report.notes.count() == 4);
    CHECK(says(report.notes, "a.json: found no picture"));
    CHECK(says(report.notes, "conversation 2: mask 1 is empty"));
    CHECK(says(report.notes, "holds ignored pixels alone"));
    CHECK(says(report.notes, "another sample has the same name"));
  }
  CHECK(says(check_data_set(set_of({})).defects, "no samples"));
}

TEST_CASE("data sets are found by their layout and opened by LISA's names") {
  const test::TempDir base;
  CHECK(find_data_sets(base.path()).empty());
  const std::string annotation =
      R"({"text": ["a"], "is_sentence": false, "shapes": [{"label": "t", "points": [[1, 1]]}]})";
  for (const char* split : {"train", "val"}) {
    picture(base / "reason_seg" / "ReasonSeg" / split / "a.jpg");
    write(base / "reason_seg" / "ReasonSeg" / split / "a.json", annotation);
  }
  write(base / "reason_seg" / "ReasonSeg" / "explanatory" / "train.json", "[]");
  write(base / "refer_seg" / "grefcoco" / "grefs(unc).json",
        R"([{"split": "val", "image_id": 1, "ann_id": [-1], "sentences": [{"sent": "x"}]}])");
  write(
      base / "refer_seg" / "grefcoco" / "instances.json",
      R"({"images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}], "annotations": [], "categories": []})");
  picture(base / "refer_seg" / "images" / "mscoco" / "images" / "train2014" / "a.jpg");
  write(
      base / "llava_dataset" / "llava_instruct_150k.json",
      R"([{"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "a"}]}])");
  picture(base / "coco" / "train2017" / "a.jpg");
  picture(base / "ade20k" / "images" / "validation" / "a.jpg");
  const std::vector<std::uint8_t> labels(16, 2);
  const std::vector<std::uint8_t> label_png = encode_grey_png(labels, {4, 4});
  write(base / "ade20k" / "annotations" / "validation" / "a.png", std::string(label_png.begin(), label_png.end()));
  write(base / "own.jsonl", R"({"image": "coco/train2017/a.jpg", "question": "?", "answer": "[SEG]", "masks": [[]]})");

  std::vector<std::string> names;
  for (const FoundDataSet& found : find_data_sets(base.path())) {
    names.push_back((found.name.empty() ? found.where.filename().string() : found.name) +
                    (found.purpose == Purpose::training ? " training" : ""));
    CAPTURE(names.back());
    const DataReport report = check_data_set(open_data_set(found.where, found.name, found.purpose));
    CHECK(report.defects.report("defects") == "0 defects:");
    CHECK(report.readable == 1);
  }
  CHECK(names == std::vector<std::string>{"ade20k|validation", "grefcoco|unc|val", "vqa|llava_instruct_150k training",
                                          "ReasonSeg|train", "ReasonSeg|train training", "ReasonSeg|val", "own.jsonl"});
  CHECK(find_data_sets(base / "own.jsonl").size() == 1);
  CHECK(open_data_set(base.path(), "ade20k|validation", Purpose::training).data_set.size == 1);
  CHECK(open_data_set(base.path(), "grefcoco|unc|val", Purpose::training).data_set.size == 1);

  LisaMixture mixture;
  mixture.dataset = "vqa||reason_seg||sem_seg||refer_seg";
  mixture.sem_seg_data = "ade20k|validation";
  mixture.reason_seg_data = "ReasonSeg|train_val";
  const auto open_mixture = [&] { return open_lisa_mixture(base.path(), mixture); };
  CHECK(test::broken_promises({.row = "mixture", .kind = ErrorKind::io, .words = {"refclef"}}, open_mixture) == "");
  mixture.dataset = "vqa||reason_seg||sem_seg||x";
  CHECK(test::broken_promises({.row = "mixture", .kind = ErrorKind::input, .words = {"\"x\""}}, open_mixture) == "");
  mixture.dataset = "vqa||reason_seg||sem_seg";
  mixture.sample_rates = "3,1,0";
  const OpenedMixture opened = open_mixture();
  REQUIRE(opened.parts.size() == 3);
  CHECK(opened.parts[0].weight == 3);
  CHECK(opened.parts[0].sets.at(0).name == "vqa|llava_instruct_150k");
  CHECK(opened.parts[1].sets.at(0).size == 2);
  CHECK(opened.parts[2].sets.at(0).name == "ade20k|validation");

  const auto refused = [&](const fs::path& where, const std::string& name, Purpose purpose, ErrorKind kind,
                           const std::string& word) {
    return test::broken_promises({.row = name, .kind = kind, .words = {word}},
                                 [&] { static_cast<void>(open_data_set(where, name, purpose)); });
  };
  CHECK(refused(base.path(), "", Purpose::training, ErrorKind::input, "no name") == "");
  CHECK(refused(base.path(), "imagenet", Purpose::training, ErrorKind::input, "ReasonSeg|train_val") == "");
  CHECK(refused(base / "own.jsonl", "ReasonSeg|val", Purpose::training, ErrorKind::input, "found a file") == "");
  CHECK(refused(base / "none", "", Purpose::training, ErrorKind::io, "none") == "");
  CHECK(refused(base / "none", "ReasonSeg|val", Purpose::training, ErrorKind::io, "none") == "");
  CHECK(refused(base.path(), "vqa|llava_instruct_150k", Purpose::evaluation, ErrorKind::input, "without masks") == "");
}

TEST_CASE("own data is trained on with some of an image's conversations, ignored pixels as LISA has them") {
  const test::TempDir base;
  picture(base / "a.png");
  std::string dialogues;
  for (int i = 0; i < 9; ++i)
    dialogues +=
        (i > 0 ? "," : "") + (R"({"question": ")" + std::to_string(i)) +
        R"(", "answer": "[SEG]", "masks": [{"foreground": [], "ignored": {"size": [4, 4], "counts": [0, 16]}}]})";
  write(base / "own.jsonl", R"({"image": "a.png", "dialogues": [)" + dialogues + "]}");
  Random random{1};
  const Sample drawn = open_data_set(base / "own.jsonl", "", Purpose::training).data_set.read(0, random);
  REQUIRE(drawn.dialogues.size() == 3);
  CHECK(drawn.dialogues[0].exchanges != drawn.dialogues[1].exchanges);
  CHECK(drawn.dialogues[0].masks.at(0).labels == std::vector<std::uint8_t>(16, 0));
  const Sample all = open_data_set(base / "own.jsonl", "", Purpose::evaluation).data_set.read(0, random);
  CHECK(all.dialogues.size() == 9);
  CHECK(all.dialogues[0].masks.at(0).labels == std::vector<std::uint8_t>(16, 255));
}

TEST_CASE("a contact sheet shows every sample with its masks") {
  const Dialogue asked{{{"Where is it?", "[SEG]."}, {"Why?", "So."}}, {mask({1, 0, 0, 0})}, {}};
  std::vector<Sample> samples{sample("one", {asked}), sample("two", {}), sample("three", {asked, asked})};
  samples[1].image = make_image({700, 30});
  const Image sheet = contact_sheet(samples, {.columns = 2, .cell_width = 320});
  CHECK(sheet.width == 640);
  CHECK(sheet.height > 700);
  // The picture of the first cell is black but for the tinted upper left quarter.
  const auto pixel = [&](int x, int y) {
    return sheet.row(y)[x * 3] + sheet.row(y)[x * 3 + 1] + sheet.row(y)[x * 3 + 2];
  };
  int tinted = 0, black = 0;
  for (int y = 0; y < 400; ++y)
    for (int x = 0; x < 320; ++x) {
      tinted += pixel(x, y) == (230 + 159) / 2 ? 1 : 0;
      black += pixel(x, y) == 0 ? 1 : 0;
    }
  CHECK(tinted > 160 * 160 / 2);
  CHECK(black > 320 * 320 / 2);
  CHECK(contact_sheet(std::span(samples).first(1), {.columns = 5, .cell_width = 320}).width == 320);
  const auto refused = [&](std::span<const Sample> some, const ContactSheet& form, const std::string& word) {
    return test::broken_promises({.row = "sheet", .kind = ErrorKind::input, .words = {word}},
                                 [&] { static_cast<void>(contact_sheet(some, form)); });
  };
  CHECK(refused({}, {}, "no sample") == "");
  CHECK(refused(samples, {.columns = 0, .cell_width = 320}, "0 columns") == "");
  CHECK(refused(samples, {.columns = 2, .cell_width = 100}, "100 pixels") == "");
}
