// torch-free
#include "lisa/data/coco_annotations.hpp"

#include <string>
#include <vector>

#include "tests/support/bad_input.hpp"
#include "tests/support/temp_dir.hpp"

//
#include <doctest/doctest.h>

using namespace lisa;

namespace {

/// A COCO file with one image of 4 x 3 pixels, one category and these annotations.
std::string coco(const std::string& annotations,
                 const std::string& images = R"({"id": 7, "file_name": "a.jpg", "height": 3, "width": 4})") {
  return R"({"info": {"year": [2014, {"annotations": []}]}, "images": [)" + images +
         R"(], "licenses": [{"id": 1}], "annotations": [)" + annotations +
         R"(], "categories": [{"id": 3, "name": "cup", "supercategory": "x"}]})";
}

std::string annotation(const std::string& segmentation, const std::string& more = {}, const std::string& id = "1") {
  return R"({"id": )" + id + R"(, "image_id": 7, "category_id": 3, "segmentation": )" + segmentation + more + "}";
}

constexpr const char* square = "[[0, 0, 2, 0, 2, 2, 0, 2]]";

struct Row {
  std::string id;
  std::string content;
  std::vector<std::string> words;
};

}  // namespace

TEST_CASE("a COCO file is read with its outlines in every form") {
  const test::TempDir folder;
  test::write_text(folder / "instances.json",
                   coco(annotation(square, R"(, "bbox": [0, 0, 2.0, 2], "iscrowd": 0)") + "," +
                        annotation(R"({"size": [3, 4], "counts": [0, 4, 8]})", R"(, "iscrowd": 1)", "2") + "," +
                        annotation(R"([{"size": [3, 4], "counts": "04"}])", {}, "9007199254740993") + "," +
                        annotation("[[0, 0, 1, 1], [0, 0, 2, 0, 2, 2, 0, 2], [3, 1]]", {}, "-0")));
  // The third has counts of 4 foreground pixels only, which do not fill the picture.
  CHECK(test::broken_promises({.row = "123",
                               .kind = ErrorKind::format,
                               .file = "instances.json",
                               .words = {"annotations[2].segmentation[0]", "4 pixels in all", "12"}},
                              [&] { static_cast<void>(read_coco_annotations(folder / "instances.json")); }) == "");
  test::write_text(folder / "instances.json",
                   coco(annotation(square, R"(, "bbox": [0, 0, 2.0, 2], "iscrowd": 0)") + "," +
                        annotation(R"({"size": [3, 4], "counts": [0, 4, 8]})", R"(, "iscrowd": 1)", "2") + "," +
                        annotation(R"([{"size": [3, 4], "counts": "048"}])", {}, "9007199254740993") + "," +
                        annotation("[[0, 0, 1, 1], [0, 0, 2, 0, 2, 2, 0, 2], [3, 1]]", {}, "-0")));
  const CocoAnnotations read = read_coco_annotations(folder / "instances.json");
  REQUIRE(read.images.size() == 1);
  CHECK(read.images[0].file_name == "a.jpg");
  CHECK(read.images[0].size == ImageSize{3, 4});
  REQUIRE(read.categories.size() == 1);
  CHECK(read.categories[0].name == "cup");
  REQUIRE(read.annotations.size() == 4);
  CHECK(read.annotations[2].id == 9007199254740993);
  CHECK(read.annotations[1].crowd);
  CHECK(read.dropped_polygons == 2);
  const auto pixels = [&](std::size_t i) { return mask_bytes(annotation_mask(read, read.annotations[i])); };
  CHECK(pixels(0) == std::vector<std::uint8_t>{1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0});
  CHECK(pixels(1) == std::vector<std::uint8_t>{1, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0});
  CHECK(pixels(2) == pixels(1));
  CHECK(pixels(3) == pixels(0));
}

TEST_CASE("overlapping parts are one object; LISA sums them") {
  CocoSegmentation parts;
  parts.polygons = {{0, 0, 3, 0, 3, 2, 0, 2}, {2, 0, 4, 0, 4, 2, 2, 2}};
  CHECK(area(segmentation_mask(parts, {2, 4})) == 8);
  CHECK(summed_parts(parts, {2, 4}).labels == std::vector<std::uint8_t>{1, 1, 2, 1, 1, 1, 2, 1});
  CHECK(is_empty(summed_parts({}, {2, 4})));
}

TEST_CASE("self-intersecting, repeated and clockwise points are fine") {
  const test::TempDir folder;
  test::write_text(folder / "c.json",
                   coco(annotation("[[0, 0, 4, 3, 4, 0, 0, 3], [1, 1, 1, 1, 1, 1], [0, 0, 0, 3, 4, 3, 4, 0]]")));
  const CocoAnnotations read = read_coco_annotations(folder / "c.json");
  CHECK(area(annotation_mask(read, read.annotations[0])) == 12);
}

TEST_CASE("every wrong COCO file is refused with all of its defects") {
  const std::string long_number = "\"" + std::string(16, 'P') + "0\"";
  const std::string rle = R"({"size": [3, 4], "counts": )";
  const std::vector<Row> rows{
      {"115", R"({"images": [], "categories": []})", {"annotations", "missing"}},
      {"115", R"({"images": [], "categories": [], "annotations": {"0": 1}})", {"annotations", "expected an array"}},
      {"115", "[]", {"images: missing", "annotations: missing", "categories: missing"}},
      {"115", R"({"images": [], "categories": [], "annotations": [5]})", {"annotations[0]", "the number 5"}},
      {"116",
       coco(R"({"id": 1, "image_id": 8, "category_id": 3, "segmentation": [[0,0,1,0,1,1]]})"),
       {"image_id", "8"}},
      {"116",
       coco(R"({"id": 1, "image_id": 7, "category_id": 4, "segmentation": [[0,0,1,0,1,1]]})"),
       {"category_id", "4"}},
      {"116", coco(annotation(square) + "," + annotation(square)), {"annotations[1]", "annotation id 1 twice"}},
      {"116",
       coco(
           "",
           R"({"id": 7, "file_name": "a", "height": 1, "width": 1}, {"id": 7, "file_name": "b", "height": 1, "width": 1})"),
       {"images[1]", "image id 7 twice"}},
      {"117", coco(annotation(square, R"(, "bbox": [1, 2, 3])")), {"bbox", "[1,2,3]"}},
      {"117", coco(annotation(square, R"(, "bbox": [1, 2, -3, 4])")), {"bbox", "-3"}},
      {"117", coco(annotation(square, R"(, "bbox": [1, 2, NaN, 4])")), {"line 1"}},
      {"117", coco(annotation(square, R"(, "bbox": [1, 2, null, 4])")), {"bbox", "null"}},
      {"118", coco(annotation("[]")), {"segmentation", "empty list"}},
      {"118", coco(annotation("[[]]")), {"segmentation[0]", "without points"}},
      {"118", coco(annotation("[[1, 2, 3, 4, 5, 6, 7]]")), {"7 coordinates"}},
      {"118", coco(annotation("[1, 2, 3, 4, 5, 6]")), {"the number 1", "expected a polygon"}},
      {"118", coco(annotation("null")), {"null"}},
      {"121", coco(annotation("[[1, 2, 3, 4, 5, 1e9]]")), {"1000000000.0", "-1e8"}},
      {"121", coco(annotation("[[1, 2, 3, 4, 5, 2147483648]]")), {"2147483648"}},
      {"122", coco(annotation(R"([["1", 2, 3, 4, 5, 6]])")), {"the string", "expected a number"}},
      {"122", coco(annotation("[[[1, 2, 0], [3, 4, 0]]]")), {"an array as a coordinate"}},
      {"123", coco(annotation(rle + "[0, 13]}")), {"a run of 13 pixels"}},
      {"123", coco(annotation(rle + "[0, 3]}")), {"3 pixels in all"}},
      {"123", coco(annotation(rle + "[-1, 13]}")), {"a run of -1"}},
      {"123", coco(annotation(rle + "[0.5, 11.5]}")), {"0.5", "a whole number"}},
      {"124", coco(annotation(rle + R"("o"})")), {"the end of the counts"}},
      {"124", coco(annotation(rle + long_number + "}")), {"more than 7 characters"}},
      {"124", coco(annotation(rle + R"("0!4"})")), {"outside"}},
      {"124", coco(annotation(rle + R"(""})")), {"empty counts"}},
      {"125", coco(annotation(R"({"size": [4, 3], "counts": [12]})")), {"3x4 pixels", "4x3"}},
      {"125", coco(annotation(R"({"size": [0, 0], "counts": []})")), {"0x0"}},
      {"125", coco(annotation(R"({"size": [3], "counts": []})")), {"[height, width]"}},
      {"125", coco(annotation(R"({"counts": [12]})")), {"without a size"}},
      {"126", coco(annotation(square, R"(, "iscrowd": 1)")), {"polygons of a crowd"}},
      {"126", coco(annotation(square, R"(, "iscrowd": 2)")), {"iscrowd", "the number 2"}},
      {"125", coco("", R"({"id": 1, "file_name": "a", "height": 0, "width": 4})"), {"height", "the number 0"}},
      {"134", coco(annotation(square, {}, "1e999")), {"line 1"}},
      {"134", coco(annotation(square, {}, "18446744073709551615")), {"id", "18446744073709551615"}},
      {"134", coco(annotation(square, {}, "1.0")), {"id", "1.0"}},
      {"134", coco("", R"({"id": 1, "file_name": "\ud800", "height": 1, "width": 1})"), {"line 1", "surrogate"}},
      {"134", coco(annotation(square, R"(, "id": 5)")), {"id", "twice"}},
      {"134", R"({"images": [], "images": [], "annotations": [], "categories": []})", {"images", "twice"}},
      {"134", "{\"images\": [", {"line 1"}},
      {"134", "", {"line 1"}},
  };
  const test::TempDir folder;
  for (const Row& row : rows) {
    test::write_text(folder / "instances.json", row.content);
    CHECK(test::broken_promises({.row = row.id + " " + row.content,
                                 .file = "instances.json",
                                 .words = row.words,
                                 .unchanged = folder.path(),
                                 .input_bytes = row.content.size()},
                                [&] { static_cast<void>(read_coco_annotations(folder / "instances.json")); }) == "");
  }
}

TEST_CASE("all defects come in one report") {
  std::string annotations;
  for (int i = 0; i < 30; ++i) annotations += (i > 0 ? "," : "") + annotation("[[]]", {}, std::to_string(i));
  const test::TempDir folder;
  test::write_text(folder / "c.json", coco(annotations));
  CHECK(test::broken_promises({.row = "all", .file = "c.json", .words = {"30 defects", "annotations[19]", "10 more"}},
                              [&] { static_cast<void>(read_coco_annotations(folder / "c.json")); }) == "");
}

TEST_CASE("referring data may have empty outlines") {
  const test::TempDir folder;
  test::write_text(folder / "c.json", coco(annotation("[]")));
  const CocoAnnotations read = read_coco_annotations(folder / "c.json", {.empty_segmentations = true});
  CHECK(area(annotation_mask(read, read.annotations[0])) == 0);
}

TEST_CASE("memory follows the outlines, not the text") {
  const test::TempDir folder;
  std::string skipped;  // 10 MB that nobody asked for, as nested values
  for (int i = 0; i < 100'000; ++i)
    skipped += R"({"a": [1, 2, {"b": "cccccccccccccccccccccccccccccccccccccccc"}], "d": [[], {}]},)";
  skipped.back() = ' ';
  test::write_text(folder / "c.json", R"({"other": [)" + skipped + "]," + coco(annotation(square)).substr(1));
  skipped = {};
  test::detail::reset_peak_memory();
  const auto before = test::detail::memory_status("VmRSS:");
  CHECK(read_coco_annotations(folder / "c.json").annotations.size() == 1);
  if (!test::detail::instrumented) {
    // The mapped file itself counts as resident; nothing comparable is added to it.
    CHECK(test::detail::memory_status("VmHWM:") < before + std::filesystem::file_size(folder / "c.json") + (8 << 20));
  }
}

TEST_CASE("no cut and no flipped bit does more than be refused") {
  const std::string good = coco(annotation(square, R"(, "bbox": [0, 0, 2.0, 2], "iscrowd": 0)") + "," +
                                annotation(R"([{"size": [3, 4], "counts": "048"}])", {}, "2"));
  const test::TempDir folder;
  const auto read = [&](const std::string& content) {
    test::write_text(folder / "instances.json", content);
    try {
      const CocoAnnotations read = read_coco_annotations(folder / "instances.json");
      for (const CocoAnnotation& each : read.annotations) static_cast<void>(annotation_mask(read, each));
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find("instances.json") != std::string::npos);
      return false;
    }
    return true;
  };
  CHECK(read(good));
  for (std::size_t cut = 0; cut < good.size(); ++cut) CHECK_FALSE(read(good.substr(0, cut)));
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 7)));
    static_cast<void>(read(changed));  // must end, with or without an error
  }
}
