#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lisa/data/tabletop/shapes.hpp"

namespace lisa::tabletop {

/// What is known about a kind of object, in the words in which it is asked for.
struct Facts {
  std::array<std::string_view, 2> uses;  ///< "drink hot coffee": follows "to"; of one kind only
  std::string_view held_out_use;         ///< in the words of `uses`, never in training
  std::string_view material;             ///< "clay": what it is made of; kinds share it
  std::string_view place;                ///< "kitchen": where it lives; kinds share it
  std::string_view user;                 ///< "waiter": who uses it; kinds share it
};

/// A kind of object.
struct Kind {
  std::string_view name;
  std::string_view plural;
  Facts facts;
  Shape (*shape)();
};

/// Every kind of object on the table. Their outlines were chosen to differ at some 25 pixels.
inline constexpr std::array<Kind, 24> kinds{{
    {"mug",
     "mugs",
     {{"drink hot coffee", "have a warm drink"}, "have hot coffee", "clay", "kitchen", "waiter"},
     mug_shape},
    {"bottle",
     "bottles",
     {{"carry water on a hike", "keep water fresh"}, "carry fresh water", "plastic", "bag", "hiker"},
     bottle_shape},
    {"goblet",
     "goblets",
     {{"drink wine", "toast at a party"}, "have wine at a party", "glass", "cupboard", "guest"},
     goblet_shape},
    {"teapot",
     "teapots",
     {{"pour tea", "make tea for guests"}, "pour tea for guests", "clay", "kitchen", "waiter"},
     teapot_shape},
    {"pan", "pans", {{"fry an egg", "cook a meal"}, "cook an egg", "metal", "kitchen", "chef"}, pan_shape},
    {"fork", "forks", {{"eat pasta", "pick up food"}, "pick up pasta", "metal", "cupboard", "guest"}, fork_shape},
    {"basket",
     "baskets",
     {{"carry fruit", "collect apples"}, "collect fruit", "straw", "garden", "farmer"},
     basket_shape},
    {"key", "keys", {{"open a locked door", "start a car"}, "open a locked car", "metal", "bag", "driver"}, key_shape},
    {"hammer", "hammers", {{"hit a nail", "build a shed"}, "nail a shed", "wood", "garage", "carpenter"}, hammer_shape},
    {"pencil",
     "pencils",
     {{"write a note", "draw a picture"}, "draw and write", "wood", "office", "student"},
     pencil_shape},
    {"book",
     "books",
     {{"read a story", "learn about history"}, "read about history", "paper", "office", "student"},
     book_shape},
    {"letter",
     "letters",
     {{"send news to a friend", "get news by mail"}, "send news by mail", "paper", "office", "clerk"},
     letter_shape},
    {"ball",
     "balls",
     {{"score a goal", "kick around with a dog"}, "kick a goal", "rubber", "garden", "child"},
     ball_shape},
    {"clock",
     "clocks",
     {{"see what time it is", "wake up on time"}, "see the time", "plastic", "bedroom", "clerk"},
     clock_shape},
    {"lamp",
     "lamps",
     {{"light up a dark room", "see at night"}, "light a room at night", "metal", "bedroom", "writer"},
     lamp_shape},
    {"umbrella",
     "umbrellas",
     {{"stay dry in the rain", "block the rain"}, "keep dry in the rain", "cloth", "hall", "tourist"},
     umbrella_shape},
    {"boot",
     "boots",
     {{"walk through mud", "keep your feet warm"}, "walk with warm feet", "leather", "hall", "hiker"},
     boot_shape},
    {"hat",
     "hats",
     {{"shade your head", "cover your head from the sun"}, "shade your head from the sun", "cloth", "hall", "farmer"},
     hat_shape},
    {"shirt",
     "shirts",
     {{"dress for work", "cover your chest"}, "dress your chest", "cloth", "bedroom", "clerk"},
     shirt_shape},
    {"guitar", "guitars", {{"play a song", "make music"}, "play music", "wood", "stage", "musician"}, guitar_shape},
    {"camera",
     "cameras",
     {{"take a photo", "capture a moment"}, "capture a photo", "plastic", "bag", "tourist"},
     camera_shape},
    {"magnet",
     "magnets",
     {{"attract iron", "pull pins"}, "pull iron pins", "metal", "school", "teacher"},
     magnet_shape},
    {"kite",
     "kites",
     {{"catch the wind", "fly over the beach"}, "fly in the wind", "paper", "garden", "child"},
     kite_shape},
    {"crown",
     "crowns",
     {{"rule a kingdom", "look royal"}, "look royal in a kingdom", "metal", "palace", "king"},
     crown_shape},
}};

/// A color as it is named and as it is painted, red, green, blue.
struct Color {
  std::string_view name;
  std::array<std::uint8_t, 3> rgb;
};

/// Every color that an object may have.
inline constexpr std::array<Color, 8> colors{{
    {"red", {205, 40, 45}},
    {"orange", {242, 135, 30}},
    {"yellow", {240, 212, 60}},
    {"green", {50, 150, 70}},
    {"blue", {45, 85, 205}},
    {"purple", {140, 60, 175}},
    {"white", {242, 242, 240}},
    {"black", {42, 42, 48}},
}};

/// Whether objects of this kind and color are kept out of training (one combination in eight: each kind lacks one
/// color, and each color three kinds).
[[nodiscard]] constexpr bool held_out_combination(std::size_t kind, std::size_t color) {
  return (kind * 5 + kind / colors.size()) % colors.size() == color;
}

/// "a mug", "an umbrella".
[[nodiscard]] inline std::string with_article(std::string_view noun) {
  const bool vowel = std::string_view("aeiou").find(noun.front()) != std::string_view::npos;
  return (vowel ? "an " : "a ") + std::string(noun);
}

}  // namespace lisa::tabletop
