// torch-free
#include "lisa/eval/object_lists.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "lisa/data/open_data_set.hpp"
#include "lisa/data/tabletop/write_tabletop.hpp"
#include "lisa/image/write_png.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace lisa;
using lisa::test::TempDir;
using lisa::test::write_text;

Sample named(const std::string& id) { return {id, make_image({4, 6}), {}}; }

}  // namespace

TEST_CASE("objects of a JSON-lines file belong to the sample of the same id or file name") {
  const TempDir folder;
  for (const char* name : {"cup.png", "pen.png"}) write_png(folder / name, make_image({4, 6}));
  std::filesystem::create_directory(folder / "more");
  write_png(folder / "more/pen.png", make_image({4, 6}));
  const std::string corner = "[[0,0,2,0,2,2,0,2]]", all = "[[0,0,6,0,6,4,0,4]]";
  write_text(folder / "objects.jsonl",
             R"({"image": "cup.png", "question": "Objects?", "answer": "[SEG] [SEG]", "masks": [)" + corner + "," +
                 all + "]}\n" + R"({"image": "pen.png", "question": "Objects?", "answer": "[SEG]", "masks": [)" + all +
                 "]}\n" + R"({"image": "more/pen.png", "question": "Objects?", "answer": "[SEG]", "masks": [)" +
                 corner + "]}\n" + R"({"image": "cup.png", "id": "a cup", "question": "?", "answer": "No."})" + "\n");
  const ObjectSource objects = objects_from_json_lines(folder / "objects.jsonl");
  const auto areas = [&](const std::string& id) {
    std::vector<std::int64_t> found;
    for (const BitMask& mask : objects(named(id), 0)) found.push_back(area(mask));
    return found;
  };
  CHECK(areas("reason_seg|val|cup.png") == std::vector<std::int64_t>{4, 24});
  CHECK(areas("set|some/where/cup.png") == std::vector<std::int64_t>{4, 24});
  CHECK(areas("set|pen.png") == std::vector<std::int64_t>{24});
  CHECK(areas("set|more/pen.png") == std::vector<std::int64_t>{4});
  CHECK(areas("set|other/pen.png").empty());  // two of this name
  CHECK(areas("set|a cup").empty());
  CHECK(areas("set|unknown.png").empty());
}

TEST_CASE("the written tabletop world lists the objects of every picture, by whatever layout it is read") {
  const TempDir folder;
  TabletopSettings training, validation;
  training.scenes = 2;
  validation.scenes = 3;
  validation.split = TabletopSplit::scenes;
  validation.shares = tabletop_mask_shares();
  write_tabletop(folder / "world", training, validation);
  const ObjectSource objects = objects_from_json_lines(folder / "world/tabletop/objects/objects.jsonl");
  const DataSet reasoning = open_data_set(folder / "world", "ReasonSeg|val", Purpose::evaluation).data_set;
  const DataSet own = open_data_set(folder / "world/tabletop/val.jsonl", "", Purpose::evaluation).data_set;
  const DataSet coco = open_data_set(folder / "world", "refcoco|unc|val", Purpose::evaluation).data_set;
  const DataSet clef = open_data_set(folder / "world", "refclef|unc|val", Purpose::evaluation).data_set;
  for (const DataSet* data : {&reasoning, &own, &coco, &clef}) {
    CAPTURE(data->name);
    REQUIRE(data->size == 3);
    for (std::size_t index = 0; index < data->size; ++index) {
      Random random{0};
      const Sample sample = data->read(index, random);
      const std::vector<BitMask> found = objects(sample, index);
      REQUIRE(found.size() >= 2);
      for (const BitMask& mask : found) CHECK(mask.size() == sample.image.size());
      if (data == &own) continue;
      double best = 0;  // the target asked for first is an object, but for what outlines lose
      for (const BitMask& mask : found)
        best = std::max(best, iou(mask, foreground(sample.dialogues.at(0).masks.at(0))));
      CHECK(best > 0.8);
    }
  }
}

TEST_CASE("the objects of a tabletop scene share its pixels and hold every target") {
  TabletopSettings settings;
  settings.shares = tabletop_mask_shares();
  settings.scenes = 20;
  const DataSet data = tabletop_data_set(settings);
  const ObjectSource objects = tabletop_objects(settings);
  Random unused{0};
  for (std::size_t index = 0; index < data.size; ++index) {
    const Sample sample = data.read(index, unused);
    const std::vector<BitMask> found = objects(sample, index);
    REQUIRE(found.size() >= 2);
    BitMask all(sample.image.size());
    std::int64_t sum = 0;
    for (const BitMask& mask : found) {
      sum += area(mask);
      for (int y = 0; y < all.height(); ++y)
        for (std::size_t i = 0; i < all.words_per_row(); ++i) all.row(y)[i] |= mask.row(y)[i];
    }
    CHECK(sum == area(all));
    for (const Dialogue& dialogue : sample.dialogues)
      for (const LabelMask& mask : dialogue.masks) {
        std::int64_t covered = 0;
        for (const BitMask& object : found)
          if (iou(object, foreground(mask)) > 0) covered += area(object);
        CHECK(covered == area(foreground(mask)));
      }
  }
}
