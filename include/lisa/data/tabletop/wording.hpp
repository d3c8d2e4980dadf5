#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lisa/data/random.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/text/lisa_templates.hpp"

namespace lisa::tabletop {

/// Ways to ask one thing, and the answer to it. `{x}`, or LISA's `{class_name}`, is what is asked about, `{y}` what is
/// answered. Unused places are empty.
struct Wording {
  std::array<std::string_view, 4> training;
  std::array<std::string_view, 2> held_out;  ///< in the words of the training questions, never in training
  std::string_view answer;
};

/// The answer that holds one mask, always in the same one of LISA's wordings, so that answers can be compared.
inline constexpr std::string_view one_mask = answers[0];

/// A class, "red mug" or "leftmost object": LISA's own questions.
inline constexpr Wording ask_class{short_questions,
                                   {"Where is the {x} in this image? Please output segmentation mask.",
                                    "Can you find the {x} in this image? Please respond with segmentation mask."},
                                   one_mask};
/// A class that is not there.
inline constexpr Wording ask_absent{ask_class.training, ask_class.held_out, "There is no {x} in this image."};
/// All objects of a class, in one mask.
inline constexpr Wording ask_all{
    {"Can you segment all the {x} in this image?", "Please segment all the {x} in this image."},
    {"Where are all the {x} in this image? Please output segmentation mask."},
    "They are [SEG]."};
/// Several objects, a mask each: "mug and the red book".
inline constexpr Wording ask_each{ask_class.training, ask_class.held_out, "They are {y}."};

/// What an object is used for.
inline constexpr Wording ask_use{
    {"What would you use to {x}?", "Which object helps you to {x}?", "I want to {x}. What do I need?"},
    {"What do I need to {x}?", "Which object would you use to {x}?"},
    one_mask};
/// What an object is made of.
inline constexpr Wording ask_material{{"Which object is made of {x}?", "What is made of {x} in this image?"},
                                      {"Which object in this image is made of {x}?"},
                                      one_mask};
/// Where an object lives.
inline constexpr Wording ask_place{
    {"Which object do you find in {x}?", "What belongs in {x}?"}, {"Which object belongs in {x}?"}, one_mask};
/// Who uses an object.
inline constexpr Wording ask_user{
    {"Which object does {x} use?", "What does {x} need?"}, {"Which object does {x} need?"}, one_mask};

/// Facts, in words alone; `{x}` is "a mug".
inline constexpr Wording tell_use{{"What is {x} used for?"}, {"What do you use {x} for?"}, "It is used to {y}."};
inline constexpr Wording tell_material{
    {"What is {x} made of?"}, {"Can you see what {x} is made of?"}, "It is made of {y}."};
inline constexpr Wording tell_place{{"Where do you find {x}?"}, {"Where is {x} used?"}, "You find it in {y}."};
inline constexpr Wording tell_user{{"Who uses {x}?"}, {"Who would need {x}?"}, "It is used by {y}."};
/// The kind that a use belongs to.
inline constexpr Wording tell_kind_of_use{ask_use.training, ask_use.held_out, "You use {y}."};

/// What is seen, in words alone.
inline constexpr Wording tell_color{{"What color is {x}?"}, {"Which color is {x}?"}, "It is {y}."};
inline constexpr Wording tell_kind{{"What is the {x} in this image?"}, {"Which object is the {x}?"}, "It is {y}."};
inline constexpr Wording tell_count{
    {"How many objects are in this image?"}, {"How many objects are there?"}, "There are {y} objects."};
inline constexpr Wording tell_objects{{"What objects are in this image?", "What do you see in this image?"},
                                      {"Which objects do you see in this image?"},
                                      "There are {y}."};
inline constexpr Wording tell_presence{{"Is there {x} in this image?"}, {"Can you see {x} in this image?"}, "{y}"};

/// Second questions, about "it".
inline constexpr Wording then_beside{{"What is {x} it?"}, {"Which object is {x} it?"}, one_mask};
inline constexpr Wording then_same_color{
    {"Which object has the same color?"}, {"What has the same color as it?"}, one_mask};
inline constexpr Wording then_segment{{"Please segment it in this image.", "Can you segment it in this image?"},
                                      {"Where is it in this image? Please output segmentation mask."},
                                      one_mask};

inline constexpr std::array all_wordings{
    &ask_class, &ask_absent, &ask_all,       &ask_each,      &ask_use,     &ask_material,     &ask_place,
    &ask_user,  &tell_use,   &tell_material, &tell_place,    &tell_user,   &tell_kind_of_use, &tell_color,
    &tell_kind, &tell_count, &tell_objects,  &tell_presence, &then_beside, &then_same_color,  &then_segment};

/// Explanations that follow "It is [SEG]."; `{x}` is "a mug", `{y}` the fact.
inline constexpr std::array<std::string_view, 4> explanations{"You use {x} to {y}.", "{x} is made of {y}.",
                                                              "You find {x} in {y}.", "{x} is used by {y}."};
/// The single answer's variant that names the object first.
inline constexpr std::string_view naming_answer = "It is the {x}, [SEG].";

inline constexpr std::array<std::string_view, 4> extremes{"leftmost object", "rightmost object", "topmost object",
                                                          "bottommost object"};
inline constexpr std::array<std::string_view, 4> directions{"left of", "right of", "above", "below"};
inline constexpr std::array<std::string_view, 2> sizes{"largest object", "smallest object"};
inline constexpr std::array<std::string_view, 9> counts{"no",   "one", "two",   "three", "four",
                                                        "five", "six", "seven", "eight"};
/// Words between those of the tables above, and those of the written data sets: parts, "the handle of the mug", and the
/// table itself.
inline constexpr std::array<std::string_view, 10> connections{
    "object",        "objects",        "the object with the same color as the", "and the", "a", "an", "of the", "table",
    "Yes, there is", "No, there is no"};

/// `text` with every `slot` replaced.
[[nodiscard]] inline std::string filled(std::string_view text, std::string_view slot, std::string_view value) {
  std::string result;
  for (std::size_t at; (at = text.find(slot)) != std::string_view::npos; text.remove_prefix(at + slot.size()))
    result.append(text.substr(0, at)).append(value);
  return result.append(text);
}

/// One of a wording's questions about `x`.
[[nodiscard]] inline std::string question(const Wording& wording, bool held_out, std::string_view x, Random& random) {
  const auto pick = [&](const auto& choices) {
    const auto used = static_cast<std::uint64_t>(
        std::count_if(choices.begin(), choices.end(), [](auto text) { return !text.empty(); }));
    const std::string_view text = choices[static_cast<std::size_t>(random.below(used))];
    return filled(filled(text, class_name_slot, x), "{x}", x);
  };
  return held_out ? pick(wording.held_out) : pick(wording.training);
}

/// A wording's answer.
[[nodiscard]] inline std::string answer(const Wording& wording, std::string_view x, std::string_view y = {}) {
  return filled(filled(wording.answer, "{y}", y), "{x}", x);
}

/// `sentence` with a capital.
[[nodiscard]] inline std::string capitalized(std::string sentence) {
  if (!sentence.empty()) sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
  return sentence;
}

}  // namespace lisa::tabletop

namespace lisa {

/// Every word of the questions and answers about the tabletop, sorted, without punctuation; `[SEG]` is not among them.
[[nodiscard]] inline std::vector<std::string> tabletop_words() {
  using namespace tabletop;
  std::set<std::string> words;
  const auto add = [&](std::string_view text) {
    std::string sentence(text);
    for (const std::string_view slot :
         {std::string_view("{x}"), std::string_view("{y}"), class_name_slot, sentence_slot, std::string_view("[SEG]")})
      sentence = filled(sentence, slot, " ");
    std::string word;
    for (const char c : sentence + " ")
      if (std::isalpha(static_cast<unsigned char>(c)) != 0)
        word += c;
      else if (!word.empty()) {
        words.insert(word);
        word.clear();
      }
  };
  const auto add_all = [&](const auto& texts) {
    for (const std::string_view text : texts) add(text);
  };
  for (const Wording* wording : all_wordings) {
    add_all(wording->training);
    add_all(wording->held_out);
    add(wording->answer);
  }
  for (const Kind& kind : kinds) {
    add(kind.name);
    add(kind.plural);
    for (const ShapePart& part : kind.shape()) add(part.name);
    add_all(kind.facts.uses);
    for (const std::string_view text :
         {kind.facts.held_out_use, kind.facts.material, kind.facts.place, kind.facts.user})
      add(text);
  }
  for (const tabletop::Color& color : colors) add(color.name);
  add_all(long_questions);
  add_all(explanatory_requests);
  add_all(explanations);
  add(naming_answer);
  add_all(extremes);
  add_all(directions);
  add_all(sizes);
  add_all(counts);
  add_all(connections);
  add("A An");
  return {words.begin(), words.end()};
}

/// The punctuation of the questions and answers.
inline constexpr std::string_view tabletop_punctuation = ".,?";

}  // namespace lisa
