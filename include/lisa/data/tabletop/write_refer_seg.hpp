#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/phrases.hpp"
#include "lisa/data/tabletop/pictures.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"
#include "lisa/files/json_pickle.hpp"
#include "lisa/image/mask_json.hpp"

namespace lisa::tabletop {

namespace refer_detail {

/// One of the referring sets: who split it, and what its expressions speak of.
struct ReferSet {
  std::string_view name;
  std::string_view splitter;
  std::vector<PhraseMaker> makers;
};

/// Different phrases about a picture, a few tries for each maker.
[[nodiscard]] inline std::vector<Phrase> phrases(const Picture& picture, std::span<const PhraseMaker> makers,
                                                 Random& random) {
  constexpr int tries = 2;
  std::vector<Phrase> found;
  const View view{picture.scene(), picture.style, random};
  for (const PhraseMaker make : makers)
    for (int i = 0; i < tries; ++i) {
      std::optional<Phrase> phrase = make(view);
      const auto same = [&](const Phrase& other) { return other.name == phrase->name; };
      if (phrase && std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(*phrase));
    }
  return found;
}

/// Hands out the ids of references and sentences.
struct Ids {
  std::int64_t reference = 0;
  std::int64_t sentence = 0;
};

[[nodiscard]] inline Json words_json(std::string_view sentence) {
  Json words = Json::array();
  while (!sentence.empty()) {
    const std::string_view word = sentence.substr(0, sentence.find(' '));
    words.push_back(word);
    sentence.remove_prefix(std::min(word.size() + 1, sentence.size()));
  }
  return words;
}

/// A reference with its sentences, all but what it refers to.
[[nodiscard]] inline Json reference(const Picture& picture, const std::string& file_name,
                                    std::span<const std::string> sentences, Ids& ids) {
  Json ref = Json::object();
  ref["ref_id"] = ids.reference++;
  ref["image_id"] = picture.number;
  ref["file_name"] = file_name;
  ref["split"] = picture.training ? "train" : "val";
  ref["sent_ids"] = Json::array();
  ref["sentences"] = Json::array();
  for (const std::string& text : sentences) {
    Json sentence = Json::object();
    sentence["sent_id"] = ids.sentence;
    sentence["tokens"] = words_json(text);
    sentence["raw"] = text;
    sentence["sent"] = text;
    ref["sentences"].push_back(std::move(sentence));
    ref["sent_ids"].push_back(ids.sentence++);
  }
  return ref;
}

/// References to single objects: for each object, the phrases that mean it.
inline void append_single(const Picture& picture, const std::string& file_name, const std::vector<Phrase>& phrases,
                          Ids& ids, Json& refs) {
  for (std::size_t object = 0; object < picture.objects.size(); ++object) {
    std::vector<std::string> sentences;
    for (const Phrase& phrase : phrases)
      if (phrase.objects == std::vector<std::size_t>{object}) sentences.push_back(phrase.name);
    if (sentences.empty()) continue;
    Json& ref = refs.emplace_back(reference(picture, file_name, sentences, ids));
    ref["ann_id"] = object_id(picture, object);
    ref["category_id"] = picture.scene().objects[object].kind + 1;
  }
}

/// gRefCOCO's references: to one object, several or none.
inline void append_general(const Picture& picture, const std::string& file_name, const std::vector<Phrase>& phrases,
                           Ids& ids, Json& refs) {
  for (const Phrase& phrase : phrases) {
    Json& ref = refs.emplace_back(reference(picture, file_name, {&phrase.name, 1}, ids));
    ref["no_target"] = phrase.objects.empty();
    ref["ann_id"] = Json::array();
    ref["category_id"] = Json::array();
    for (const std::size_t object : phrase.objects) {
      ref["ann_id"].push_back(object_id(picture, object));
      ref["category_id"].push_back(picture.scene().objects[object].kind + 1);
    }
    if (!phrase.objects.empty()) continue;
    ref["ann_id"].push_back(-1);
    ref["category_id"].push_back(-1);
  }
}

/// The objects that are referred to. RefCLEF has run lengths, the others outlines; masks with a hole are run lengths in
/// either.
[[nodiscard]] inline Json instances(const std::vector<Picture>& pictures, bool refclef,
                                    const std::vector<std::string>& file_names) {
  Json file = Json::object();
  file["images"] = Json::array();
  file["annotations"] = Json::array();
  file["categories"] = Json::array();
  for (std::size_t p = 0; p < pictures.size(); ++p) {
    const Picture& picture = pictures[p];
    file["images"].push_back(image_json(picture, file_names[p]));
    for (std::size_t i = 0; i < picture.objects.size(); ++i) {
      const BitMask& mask = picture.objects[i];
      Json outline = refclef ? rle_json(mask) : outline_json(mask);
      if (outline.is_object()) {
        Json runs = Json::array();
        runs.push_back(std::move(outline));
        outline = std::move(runs);
      }
      file["annotations"].push_back(
          annotation_json(object_id(picture, i), picture, picture.scene().objects[i].kind, mask, std::move(outline)));
    }
  }
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    Json& category = file["categories"].emplace_back(Json::object());
    category["id"] = i + 1;
    category["name"] = kinds[i].name;
    category["supercategory"] = "object";
  }
  return file;
}

/// The five sets that LISA reads. RefCOCO+ names no places, RefCOCOg is wordier.
[[nodiscard]] inline std::vector<ReferSet> refer_sets() {
  return {{"refclef", "unc", {by_color_and_kind, by_kind, by_extreme}},
          {"refcoco", "unc", {by_color_and_kind, by_kind, by_color, by_extreme, by_size, by_neighbor}},
          {"refcoco+", "unc", {by_color_and_kind, by_kind, by_color, by_size, by_same_color}},
          {"refcocog", "umd", {by_color_and_kind, by_neighbor, by_same_color}},
          {"grefcoco",
           "unc",
           {by_color_and_kind, by_extreme, all_of_a_color, all_of_a_kind, some_objects, absent_kind,
            absent_color_of_kind}}};
}

/// A picture's name among COCO's of 2014, which all but RefCLEF speak of.
[[nodiscard]] inline std::string coco_name(const Picture& picture) { return "COCO_train2014_" + picture.file_name(); }

/// Its name in RefCLEF.
[[nodiscard]] inline std::string clef_name(const Picture& picture) {
  return "00/images/" + std::to_string(picture.number) + ".jpg";
}

}  // namespace refer_detail

/// The layouts of RefCLEF, RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO below `root`/refer_seg, splits train and val.
inline void write_refer_seg(const std::filesystem::path& root, const std::vector<Picture>& pictures) {
  using namespace refer_detail;
  const std::filesystem::path base = root / "refer_seg";
  const std::filesystem::path coco = made_folder(base / "images" / "mscoco" / "images" / "train2014");
  const std::filesystem::path clef = base / "images" / "saiapr_tc-12";
  made_folder(clef / "00" / "images");
  std::vector<std::string> coco_names, clef_names;
  for (const Picture& picture : pictures) {
    coco_names.push_back(coco_name(picture));
    clef_names.push_back(clef_name(picture));
    write_file(coco / coco_names.back(), picture.jpeg);
    write_file(clef / clef_names.back(), picture.jpeg);
  }
  std::uint64_t number = 0;
  for (const ReferSet& set : refer_sets()) {
    const bool refclef = set.name == "refclef", general = set.name == "grefcoco";
    const std::vector<std::string>& names = refclef ? clef_names : coco_names;
    Ids ids;
    Json refs = Json::array();
    ++number;
    for (std::size_t p = 0; p < pictures.size(); ++p) {
      Random random = picture_random(pictures[p], number);
      const std::vector<Phrase> found = phrases(pictures[p], set.makers, random);
      (general ? append_general : append_single)(pictures[p], names[p], found, ids, refs);
    }
    const std::filesystem::path folder = made_folder(base / set.name);
    write_json(folder / "instances.json", instances(pictures, refclef, names));
    const std::string splitter = "(" + std::string(set.splitter) + ")";
    if (general)
      write_json(folder / ("grefs" + splitter + ".json"), refs);
    else
      write_file(folder / ("refs" + splitter + ".p"), json_pickle(refs));
  }
}

}  // namespace lisa::tabletop
