#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/data/random.hpp"
#include "lisa/data/sample.hpp"
#include "lisa/data/tabletop/kinds.hpp"
#include "lisa/data/tabletop/phrases.hpp"
#include "lisa/data/tabletop/scene.hpp"
#include "lisa/data/tabletop/wording.hpp"
#include "lisa/text/lisa_templates.hpp"

namespace lisa::tabletop {

/// What a question demands. The groups from `name` to `absent` are answered with masks, or with none where nothing is
/// there; the others in words alone.
enum class Group {
  name,         ///< an object by its kind
  attribute,    ///< by its color, or color and kind
  relation,     ///< by its place or size among the others
  reasoning,    ///< by what one wants to do
  knowledge,    ///< by what it is made of, where it lives, who uses it
  explanatory,  ///< reasoning or knowledge, with the reason in words
  multi_turn,   ///< the second exchange refers to the first
  several,      ///< several objects in one mask, or each in its own
  absent,       ///< nothing in the picture answers to it
  facts,        ///< what kinds are used for, made of, where they live, who uses them
  sight,        ///< colors, kinds, number and presence of the objects
  caption,      ///< all objects, from left to right
};
inline constexpr std::array<std::string_view, 12> group_names{"name",      "attribute",   "relation",   "reasoning",
                                                              "knowledge", "explanatory", "multi-turn", "several",
                                                              "absent",    "facts",       "sight",      "caption"};

[[nodiscard]] constexpr std::string_view name_of(Group group) { return group_names[static_cast<std::size_t>(group)]; }

/// @throws InputError when there is no such group
[[nodiscard]] inline Group group_of(std::string_view name) {
  const auto found = std::find(group_names.begin(), group_names.end(), name);
  if (found == group_names.end()) {
    std::string all;
    for (const std::string_view known : group_names) all += (all.empty() ? "" : ", ") + std::string(known);
    throw InputError("tabletop", "group " + quoted(name), "expected one of " + all);
  }
  return static_cast<Group>(found - group_names.begin());
}

/// A conversation about a scene.
struct Question {
  std::vector<Exchange> exchanges;
  std::vector<std::vector<std::size_t>> targets;  ///< for each [SEG] of the answers, the objects that its mask shows
};

namespace question_detail {

/// A question, or nothing when the scene does not allow it.
using Maker = std::optional<Question> (*)(const View&);

/// An answer with one mask, which is of `name`.
[[nodiscard]] inline std::string mask_answer(const View& view, std::string_view name) {
  return view.style.naming_answers ? filled(naming_answer, "{x}", name) : std::string(one_mask);
}
/// A class and the objects that it means.
[[nodiscard]] inline Question class_question(const View& view, std::string_view name,
                                             std::vector<std::size_t> objects) {
  return {{{view.ask(ask_class, name), mask_answer(view, name)}}, {std::move(objects)}};
}
/// Only words.
[[nodiscard]] inline Question text_question(const View& view, const Wording& wording, std::string_view x,
                                            std::string_view y) {
  return {{{view.ask(wording, x), answer(wording, x, y)}}, {}};
}
/// A sentence that asks for a mask, as LISA puts it.
[[nodiscard]] inline std::string with_request(const View& view, std::string_view sentence) {
  return fill_slot(view.random.pick(long_questions), sentence_slot, sentence);
}

/// A phrase as LISA asks for a class, in one mask.
template <PhraseMaker make>
[[nodiscard]] std::optional<Question> by_phrase(const View& view) {
  auto phrase = make(view);
  if (!phrase) return std::nullopt;
  return class_question(view, phrase->name, std::move(phrase->objects));
}
/// The same for a phrase in the plural.
template <PhraseMaker make>
[[nodiscard]] std::optional<Question> all_in_one_mask(const View& view) {
  auto phrase = make(view);
  if (!phrase) return std::nullopt;
  return Question{{{view.ask(ask_all, phrase->name), answer(ask_all, "")}}, {std::move(phrase->objects)}};
}
/// What is not there.
template <PhraseMaker make>
[[nodiscard]] std::optional<Question> not_there(const View& view) {
  const auto phrase = make(view);
  if (!phrase) return std::nullopt;
  return Question{{{view.ask(ask_absent, phrase->name), answer(ask_absent, phrase->name)}}, {}};
}
/// A mask for each of several objects.
[[nodiscard]] inline std::optional<Question> each_of_some(const View& view) {
  const auto phrase = some_objects(view);
  if (!phrase) return std::nullopt;
  Question result;
  std::string masks;
  for (const std::size_t object : phrase->objects) {
    if (!masks.empty()) masks += object == phrase->objects.back() ? " and " : ", ";
    masks += "[SEG]";
    result.targets.push_back({object});
  }
  result.exchanges.push_back({view.ask(ask_each, phrase->name), answer(ask_each, "", masks)});
  return result;
}

using FactMaker = std::optional<FactQuestion> (*)(const View&);

/// A question that asks for the object, LISA's long form.
template <FactMaker make>
[[nodiscard]] std::optional<Question> by_fact(const View& view) {
  const auto fact = make(view);
  if (!fact) return std::nullopt;
  return Question{{{with_request(view, fact->sentence), mask_answer(view, view.kind(fact->object).name)}},
                  {{fact->object}}};
}

/// The same with a reason.
template <FactMaker make>
[[nodiscard]] std::optional<Question> by_fact_with_reason(const View& view) {
  const auto fact = make(view);
  if (!fact) return std::nullopt;
  return Question{{{fact->sentence + " " + std::string(view.random.pick(explanatory_requests)),
                    mask_answer(view, view.kind(fact->object).name) + " " + fact->reason}},
                  {{fact->object}}};
}

/// The answer in words: facts applied to what is seen, but nothing segmented.
template <FactMaker make>
[[nodiscard]] std::optional<Question> fact_in_words(const View& view) {
  const auto fact = make(view);
  if (!fact) return std::nullopt;
  return Question{{{fact->sentence, filled(tell_kind.answer, "{y}", with_article(view.kind(fact->object).name))}}, {}};
}

[[nodiscard]] inline std::optional<Question> use_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_use, with_article(kind.name), kind.facts.uses[0]);
}
[[nodiscard]] inline std::optional<Question> kind_of_use(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_kind_of_use,
                       view.style.held_out_wording ? kind.facts.held_out_use : view.random.pick(kind.facts.uses),
                       with_article(kind.name));
}
[[nodiscard]] inline std::optional<Question> material_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_material, with_article(kind.name), kind.facts.material);
}
[[nodiscard]] inline std::optional<Question> place_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_place, with_article(kind.name), with_article(kind.facts.place));
}
[[nodiscard]] inline std::optional<Question> user_of_kind(const View& view) {
  const Kind& kind = view.random.pick(kinds);
  return text_question(view, tell_user, with_article(kind.name), with_article(kind.facts.user));
}

[[nodiscard]] inline std::optional<Question> color_of_kind(const View& view) {
  const auto object = one_kind_alone(view);
  if (!object) return std::nullopt;
  return text_question(view, tell_color, "the " + std::string(view.kind(*object).name), view.color(*object).name);
}
[[nodiscard]] inline std::optional<Question> kind_of_color(const View& view) {
  const auto object = one_color_alone(view);
  if (!object) return std::nullopt;
  return text_question(view, tell_kind, color_object(view, *object), with_article(view.kind(*object).name));
}
[[nodiscard]] inline std::optional<Question> number_of_objects(const View& view) {
  if (view.objects().size() < 2) return std::nullopt;
  return text_question(view, tell_count, "", counts[view.objects().size()]);
}
/// All objects from left to right, "a red mug, a blue fork and a red hat".
[[nodiscard]] inline std::optional<Question> list_of_objects(const View& view) {
  std::vector<std::size_t> order = view.where([](std::size_t) { return true; });
  if (order.size() < 2) return std::nullopt;
  // Of two at the same place the one that lies below is named first.
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(view.objects()[a].x, a) < std::pair(view.objects()[b].x, b);
  });
  std::string list;
  for (const std::size_t object : order) {
    if (!list.empty()) list += object == order.back() ? " and " : ", ";
    list += with_article(color_and_kind(view, object));
  }
  return text_question(view, tell_objects, "", list);
}
[[nodiscard]] inline std::optional<Question> presence_of_kind(const View& view) {
  const bool present = view.random.chance(0.5);
  std::size_t kind = view.random.pick(view.objects()).kind;
  const auto seen = [&] {
    return std::any_of(view.objects().begin(), view.objects().end(),
                       [&](const PlacedObject& object) { return object.kind == kind; });
  };
  while (!present && seen()) kind = view.random.below(kinds.size());
  const std::string name(kinds[kind].name);
  return text_question(view, tell_presence, with_article(name),
                       present ? "Yes, there is " + with_article(name) + "." : "No, there is no " + name + ".");
}

/// First a mask, asked for by kind or by color; the second exchange must not be answered by the first question.
[[nodiscard]] inline Question mask_by_kind(const View& view, std::size_t object) {
  return class_question(view, view.kind(object).name, {object});
}
[[nodiscard]] inline Question mask_by_color(const View& view, std::size_t object) {
  return class_question(view, color_object(view, object), {object});
}
/// Then a mask of another object.
[[nodiscard]] inline Question with_second_mask(Question first, const View& view, const Wording& wording,
                                               std::string_view x, std::size_t object) {
  first.exchanges.push_back({with_request(view, view.ask(wording, x)), answer(wording, x)});
  first.targets.push_back({object});
  return first;
}
/// Then words.
[[nodiscard]] inline Question with_words(Question first, const View& view, const Wording& wording, std::string_view y) {
  first.exchanges.push_back({view.ask(wording, "it"), answer(wording, "it", y)});
  return first;
}

[[nodiscard]] inline std::optional<Question> then_neighbor(const View& view) {
  const bool by_its_color = view.random.chance(0.5);
  const auto pair = some_neighbors(
      view, [&](std::size_t i) { return by_its_color ? view.only_of_its_color(i) : view.only_of_its_kind(i); });
  if (!pair) return std::nullopt;
  const std::size_t first = pair->reference;
  return with_second_mask(by_its_color ? mask_by_color(view, first) : mask_by_kind(view, first), view, then_beside,
                          directions[pair->direction], pair->object);
}
[[nodiscard]] inline std::optional<Question> then_alike(const View& view) {
  const auto first = some_with_one_alike(view);
  if (!first) return std::nullopt;
  return with_second_mask(mask_by_kind(view, *first), view, then_same_color, "", *only_one_alike(view, *first));
}
[[nodiscard]] inline std::optional<Question> then_what_color(const View& view) {
  const auto first = one_kind_alone(view);
  if (!first) return std::nullopt;
  return with_words(mask_by_kind(view, *first), view, tell_color, view.color(*first).name);
}
[[nodiscard]] inline std::optional<Question> then_what_fact(const View& view) {
  const auto first = one_color_alone(view);
  if (!first) return std::nullopt;
  const Facts& facts = view.kind(*first).facts;
  return view.random.chance(0.5) ? with_words(mask_by_color(view, *first), view, tell_use, facts.uses[0])
                                 : with_words(mask_by_color(view, *first), view, tell_material, facts.material);
}
[[nodiscard]] inline std::optional<Question> kind_then_mask(const View& view) {
  const auto object = one_color_alone(view);
  if (!object) return std::nullopt;
  Question result = text_question(view, tell_kind, color_object(view, *object), with_article(view.kind(*object).name));
  result.exchanges.push_back({view.ask(then_segment, ""), answer(then_segment, "")});
  result.targets.push_back({*object});
  return result;
}

/// Ways to make a question of each group.
[[nodiscard]] inline std::vector<Maker> makers_of(Group group) {
  switch (group) {
    case Group::name:
      return {by_phrase<by_kind>};
    case Group::attribute:
      return {by_phrase<by_color>, by_phrase<by_color_and_kind>};
    case Group::relation:
      return {by_phrase<by_extreme>, by_phrase<by_size>, by_phrase<by_neighbor>, by_phrase<by_same_color>};
    case Group::reasoning:
      return {by_fact<fact_of_use>};
    case Group::knowledge:
      return {by_fact<fact_of_material>, by_fact<fact_of_place>, by_fact<fact_of_user>};
    case Group::explanatory:
      return {by_fact_with_reason<fact_of_use>, by_fact_with_reason<fact_of_material>,
              by_fact_with_reason<fact_of_place>, by_fact_with_reason<fact_of_user>};
    case Group::multi_turn:
      return {then_neighbor, then_alike, then_what_color, then_what_fact, kind_then_mask};
    case Group::several:
      return {all_in_one_mask<all_of_a_color>, all_in_one_mask<all_of_a_kind>, each_of_some};
    case Group::absent:
      return {not_there<absent_kind>, not_there<absent_color_of_kind>};
    case Group::facts:
      return {use_of_kind,
              kind_of_use,
              kind_of_use,
              material_of_kind,
              place_of_kind,
              user_of_kind,
              fact_in_words<fact_of_material>,
              fact_in_words<fact_of_place>,
              fact_in_words<fact_of_user>};
    case Group::sight:
      return {color_of_kind, kind_of_color, number_of_objects, presence_of_kind};
    case Group::caption:
      return {list_of_objects};
  }
  return {};
}

}  // namespace question_detail

/// A question of this group about the scene, its wording drawn; nothing when the scene does not allow one. What it asks
/// for is unambiguous: every target is clearly what the words say, and every other object clearly not.
[[nodiscard]] inline std::optional<Question> make_question(const Scene& scene, Group group, const QuestionStyle& style,
                                                           Random& random) {
  std::vector<question_detail::Maker> makers = question_detail::makers_of(group);
  random.shuffle(makers);
  for (const question_detail::Maker make : makers)
    if (std::optional<Question> made = make({scene, style, random})) return made;
  return std::nullopt;
}

/// The question with its masks.
[[nodiscard]] inline Dialogue dialogue_of(const Scene& scene, Group group, Question question) {
  Dialogue dialogue{std::move(question.exchanges), {}, std::string(name_of(group))};
  for (const std::vector<std::size_t>& objects : question.targets) dialogue.masks.push_back(mask_of(scene, objects));
  return dialogue;
}

}  // namespace lisa::tabletop
