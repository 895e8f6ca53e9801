#!/usr/bin/env python3
"""Draw the example images of this folder.

Needs Python 3.9 or later, Pillow 10.1 or later (built with FreeType, as the
wheels on PyPI are) and segno:

    pip install pillow segno
    python draw.py

Every picture is made from the values in this file. The random numbers come
from fixed seeds and no clock is read, so the same versions of Pillow and its
libraries give the same files again. The only font is the one embedded in
Pillow. numpy is not needed.
"""

import random
import textwrap
from pathlib import Path

import segno
from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

FOLDER = Path(__file__).resolve().parent

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


# --------------------------------------------------------------------------
# Shared helpers
# --------------------------------------------------------------------------

def font(size):
    """Return the font embedded in Pillow, at `size` pixels."""
    return ImageFont.load_default(size=size)


def save_png(image, name, **options):
    """Save `image` as a small PNG in the folder of this script."""
    image.save(FOLDER / name, optimize=True, **options)


# --------------------------------------------------------------------------
# receipt.png
# --------------------------------------------------------------------------

RECEIPT_SIZE = (620, 1000)
RECEIPT_PAPER = (250, 249, 244)
RECEIPT_INK = (52, 52, 54)
RECEIPT_MARGIN = 44
RECEIPT_FONT_SIZE = 32
RECEIPT_LINE = 42

# Name and price in cents.
RECEIPT_ITEMS = [
    ("Rye bread", 340),
    ("Oat milk 1 litre", 215),
    ("Apples 1.2 kg", 360),
    ("Cheddar 250 g", 485),
    ("Tomato soup x 2", 390),
    ("Green tea", 520),
]
RECEIPT_TAX_PERCENT = 10


def money(cents):
    """Write an amount in cents as units and cents, such as 12.05."""
    return f"{cents // 100}.{cents % 100:02d}"


def receipt_sums():
    """Return subtotal, tax and total of the receipt, in cents."""
    subtotal = sum(price for _, price in RECEIPT_ITEMS)
    tax, rest = divmod(subtotal * RECEIPT_TAX_PERCENT, 100)
    if rest:
        raise ValueError("choose prices whose tax needs no rounding")
    return subtotal, tax, subtotal + tax


def receipt_rows():
    """Return the rows of the receipt as (kind, left or centred text, right text)."""
    subtotal, tax, total = receipt_sums()
    rows = [
        ("heading", "LANTERN LANE GROCER", ""),
        ("centre", "17 Lantern Lane", ""),
        ("centre", "Port Ellery", ""),
        ("gap", "", ""),
        ("pair", "2024-03-14", "10:42"),
        ("pair", "Receipt 4711", "Till 2"),
        ("rule", "", ""),
    ]
    rows += [("pair", name, money(price)) for name, price in RECEIPT_ITEMS]
    rows += [
        ("rule", "", ""),
        ("pair", "Subtotal", money(subtotal)),
        ("pair", f"Tax {RECEIPT_TAX_PERCENT}%", money(tax)),
        ("total", "TOTAL EUR", money(total)),
        ("rule", "", ""),
        ("pair", "Paid by card", money(total)),
        ("pair", "Change", money(0)),
        ("gap", "", ""),
        ("centre", "Thank you for your visit!", ""),
        ("centre", "Please keep this receipt.", ""),
    ]
    return rows


def draw_dashes(draw, y, left, right, colour):
    """Draw a dashed horizontal line."""
    for x in range(left, right, 14):
        draw.line([(x, y), (min(x + 7, right), y)], fill=colour, width=2)


def draw_receipt_row(draw, row, y):
    """Draw one row of the receipt at height `y`; return the height it took."""
    kind, left_text, right_text = row
    width = RECEIPT_SIZE[0]
    left, right = RECEIPT_MARGIN, width - RECEIPT_MARGIN

    if kind == "gap":
        return RECEIPT_LINE // 2
    if kind == "rule":
        draw_dashes(draw, y + 16, left, right, RECEIPT_INK)
        return 30
    if kind == "heading":
        draw.text((width // 2, y), left_text, RECEIPT_INK, font(42), anchor="ma")
        return 60
    if kind == "centre":
        draw.text((width // 2, y), left_text, RECEIPT_INK, font(RECEIPT_FONT_SIZE), anchor="ma")
        return RECEIPT_LINE

    large = kind == "total"
    row_font = font(44 if large else RECEIPT_FONT_SIZE)
    draw.text((left, y), left_text, RECEIPT_INK, row_font, anchor="la")
    draw.text((right, y), right_text, RECEIPT_INK, row_font, anchor="ra")
    return 58 if large else RECEIPT_LINE


def draw_receipt():
    """Draw receipt.png: a till receipt of an invented shop."""
    image = Image.new("RGB", RECEIPT_SIZE, RECEIPT_PAPER)
    draw = ImageDraw.Draw(image)
    y = 36
    for row in receipt_rows():
        y += draw_receipt_row(draw, row, y)
    save_png(image, "receipt.png")


# --------------------------------------------------------------------------
# page.png
# --------------------------------------------------------------------------

PAGE_SIZE = (1240, 1754)  # A4 at 150 dots per inch
PAGE_DPI = (150, 150)
PAGE_MARGIN = 150
PAGE_LINE = 52
PAGE_COLUMNS = 58  # characters per line, so that line breaks never move

PAGE_TITLE = "Why You Should Label Your Boxes"
PAGE_PARAGRAPHS = [
    "A box without a label asks the same question every time you meet it. "
    "You lift it, shake it, cut the tape, and find the winter curtains again. "
    "Each visit costs only a minute, but the minutes return with every move, "
    "every spring cleaning and every search for the good scissors. "
    "A label answers once, and then it keeps answering for years.",

    "A good label is short and plain. Write what is inside, where it belongs "
    "and the date on which you closed the lid. Put it on two sides, because "
    "boxes turn their backs when they are stacked. Use a thick pen, and do not "
    "write MISC, for that word is only a polite way of saying nothing. "
    "The person who opens the box may be you, and you will have forgotten.",
]


def draw_page():
    """Draw page.png: a title and two paragraphs, black on white."""
    image = Image.new("L", PAGE_SIZE, 255)
    draw = ImageDraw.Draw(image)
    draw.text((PAGE_MARGIN, 170), PAGE_TITLE, 0, font(56), anchor="la")
    y = 300
    for paragraph in PAGE_PARAGRAPHS:
        for line in textwrap.wrap(paragraph, PAGE_COLUMNS):
            draw.text((PAGE_MARGIN, y), line, 0, font(34), anchor="la")
            y += PAGE_LINE
        y += PAGE_LINE // 2
    save_png(image, "page.png", dpi=PAGE_DPI)


# --------------------------------------------------------------------------
# chart.png
# --------------------------------------------------------------------------

CHART_SIZE = (1200, 800)
CHART_PLOT = (150, 130, 880, 660)  # left, top, right, bottom
CHART_TITLE = "Boxes Packed per Season"
CHART_X_LABEL = "Season"
CHART_Y_LABEL = "Boxes packed"
CHART_BARS = [("Spring", 42), ("Summer", 67), ("Autumn", 58), ("Winter", 31)]
CHART_TARGET = 50
CHART_MAXIMUM = 80
CHART_STEP = 20
CHART_BAR_WIDTH = 110

CHART_MET = (31, 111, 139)
CHART_MISSED = (224, 142, 69)
CHART_TARGET_COLOUR = (170, 40, 50)
CHART_GRID = (222, 222, 222)
CHART_TEXT = (40, 40, 40)


def chart_y(value):
    """Return the height in pixels at which `value` is drawn."""
    _, top, _, bottom = CHART_PLOT
    return round(bottom - (bottom - top) * value / CHART_MAXIMUM)


def draw_chart_grid(draw):
    """Draw the grid lines, their numbers and the two axes."""
    left, top, right, bottom = CHART_PLOT
    for value in range(0, CHART_MAXIMUM + 1, CHART_STEP):
        y = chart_y(value)
        draw.line([(left, y), (right, y)], fill=CHART_GRID, width=2)
        draw.text((left - 14, y), str(value), CHART_TEXT, font(26), anchor="rm")
    draw.line([(left, top), (left, bottom), (right, bottom)], fill=CHART_TEXT, width=3)


def draw_chart_bars(draw):
    """Draw the bars with their names below and their values above."""
    left, _, right, bottom = CHART_PLOT
    slot = (right - left) / len(CHART_BARS)
    for index, (name, value) in enumerate(CHART_BARS):
        centre = round(left + slot * (index + 0.5))
        top = chart_y(value)
        colour = CHART_MET if value >= CHART_TARGET else CHART_MISSED
        half = CHART_BAR_WIDTH // 2
        draw.rectangle([centre - half, top, centre + half, bottom - 2], fill=colour)
        # The white stroke keeps a grid line from crossing the number.
        draw.text(
            (centre, top - 10), str(value), CHART_TEXT, font(32), anchor="mb",
            stroke_width=6, stroke_fill=WHITE,
        )
        draw.text((centre, bottom + 16), name, CHART_TEXT, font(28), anchor="ma")


def draw_chart_target(draw):
    """Draw the dashed line of the target."""
    left, _, right, _ = CHART_PLOT
    draw_dashes(draw, chart_y(CHART_TARGET), left + 4, right, CHART_TARGET_COLOUR)


def draw_chart_legend(draw):
    """Draw the legend to the right of the plot."""
    x, y = 910, 150
    draw.rectangle([x, y, x + 260, y + 170], outline=CHART_TEXT, width=2)
    entries = [("Target met", CHART_MET), ("Target missed", CHART_MISSED)]
    for index, (name, colour) in enumerate(entries):
        middle = y + 36 + index * 50
        draw.rectangle([x + 18, middle - 12, x + 42, middle + 12], fill=colour)
        draw.text((x + 58, middle), name, CHART_TEXT, font(26), anchor="lm")
    middle = y + 136
    draw_dashes(draw, middle, x + 18, x + 46, CHART_TARGET_COLOUR)
    draw.text((x + 58, middle), f"Target: {CHART_TARGET}", CHART_TEXT, font(26), anchor="lm")


def paste_vertical_text(image, centre, text, size):
    """Write `text` from bottom to top, centred on the point `centre`."""
    left, top, right, bottom = font(size).getbbox(text)
    label = Image.new("RGB", (right - left + 8, bottom - top + 8), WHITE)
    ImageDraw.Draw(label).text((4 - left, 4 - top), text, CHART_TEXT, font(size))
    label = label.transpose(Image.Transpose.ROTATE_90)
    image.paste(label, (centre[0] - label.width // 2, centre[1] - label.height // 2))


def draw_chart():
    """Draw chart.png: four bars, a target line and a legend."""
    left, top, right, bottom = CHART_PLOT
    image = Image.new("RGB", CHART_SIZE, WHITE)
    draw = ImageDraw.Draw(image)
    draw.text((CHART_SIZE[0] // 2, 36), CHART_TITLE, CHART_TEXT, font(46), anchor="ma")
    draw_chart_grid(draw)
    draw_chart_bars(draw)
    draw_chart_target(draw)
    draw_chart_legend(draw)
    draw.text(((left + right) // 2, 724), CHART_X_LABEL, CHART_TEXT, font(30), anchor="ma")
    paste_vertical_text(image, (54, (top + bottom) // 2), CHART_Y_LABEL, 30)
    save_png(image, "chart.png")


# --------------------------------------------------------------------------
# photo-rotated.jpg
# --------------------------------------------------------------------------

PHOTO_SIZE = (1200, 900)  # as seen upright
PHOTO_SEED = 4711
PHOTO_QUALITY = 88
PHOTO_SUN = (330, 335)
PHOTO_SIGN_TEXT = "HARBOUR 2 KM"
PHOTO_MAKE = "Ellery Optical (invented)"
PHOTO_MODEL = "Pinhole One"

# From far to near: height of the ridge, its roughness in pixels, the
# coarsest cell of its texture, and the colours of shade and light.
PHOTO_HILLS = [
    (430, 90, 256, (128, 138, 160), (166, 166, 176)),
    (500, 120, 128, (84, 106, 112), (132, 142, 122)),
    (590, 110, 64, (48, 78, 58), (112, 124, 70)),
    (700, 80, 32, (26, 44, 24), (104, 112, 48)),
]

# The board of the sign (it points to the right), and its post.
SIGN_BOARD = [(570, 470), (1050, 456), (1128, 530), (1058, 608), (574, 600)]
SIGN_POST = [(806, 430), (858, 430), (862, 900), (802, 900)]
SIGN_NAILS = [(832, 490), (832, 578)]


def white_noise(rng, size):
    """Return a grey image of independent random pixels."""
    return Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))


def fractal_noise(rng, size, coarsest, stretch=(1, 1)):
    """Return 1/f-like noise: ever finer layers, each half as strong.

    `coarsest` is the cell size in pixels of the first layer, and `stretch`
    lengthens the cells in x and y.
    """
    result = None
    weight, total = 1.0, 0.0
    cell = coarsest
    while cell >= 1:
        cells = (
            max(2, size[0] // (cell * stretch[0])),
            max(2, size[1] // (cell * stretch[1])),
        )
        layer = white_noise(rng, cells).resize(size, Image.Resampling.BICUBIC)
        total += weight
        result = layer if result is None else Image.blend(result, layer, weight / total)
        weight /= 2
        cell //= 2
    return ImageOps.autocontrast(result)


def fractal_line(rng, length, coarsest):
    """Return `length` values between 0 and 1 that rise and fall like a ridge."""
    row = fractal_noise(rng, (length, 8), coarsest)
    return [value / 255 for value in row.crop((0, 4, length, 5)).tobytes()]


def polygon_mask(size, points):
    """Return a mask of a polygon with smooth edges (drawn large, then reduced)."""
    scale = 3
    mask = Image.new("L", (size[0] * scale, size[1] * scale), 0)
    scaled = [(x * scale, y * scale) for x, y in points]
    ImageDraw.Draw(mask).polygon(scaled, fill=255)
    return mask.resize(size, Image.Resampling.BOX)


def glow_mask(size, centre, radius):
    """Return a mask that is bright at `centre` and fades to black at `radius`."""
    disc = ImageOps.invert(Image.radial_gradient("L"))
    disc = disc.resize((2 * radius, 2 * radius), Image.Resampling.BICUBIC)
    # The gradient of Pillow is not yet black at the edges; cut it off there.
    disc = disc.point(lambda value: round(max(0, value - 75) ** 2 / 180 ** 2 * 255))
    mask = Image.new("L", size, 0)
    mask.paste(disc, (centre[0] - radius, centre[1] - radius))
    return mask


def paint_sky(rng):
    """Return the sky: a gradient from blue to warm light, with thin clouds."""
    gradient = Image.linear_gradient("L").resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    # The hills hide the lower half, so the gradient ends at mid height.
    gradient = gradient.point(lambda value: min(255, value * 2))
    sky = ImageOps.colorize(gradient, (62, 104, 168), (250, 208, 158), mid=(150, 178, 205))
    clouds = fractal_noise(rng, PHOTO_SIZE, 128, stretch=(3, 1))
    clouds = clouds.point(lambda value: min(190, max(0, (value - 120) * 2)))
    sky.paste((255, 240, 224), mask=clouds)
    return sky


def add_sun(image):
    """Add the sun and its glow to the picture, as light."""
    for radius, colour in [(620, (150, 96, 40)), (230, (200, 150, 80)), (75, (255, 250, 220))]:
        light = Image.new("RGB", PHOTO_SIZE, BLACK)
        light.paste(colour, mask=glow_mask(PHOTO_SIZE, PHOTO_SUN, radius))
        image = ImageChops.screen(image, light)
    return image


def add_hill(rng, image, hill):
    """Paint one range of hills over the picture."""
    width, height = PHOTO_SIZE
    ridge, roughness, cell, shade, light = hill
    line = fractal_line(rng, width, 400)
    outline = [(x, ridge + roughness * (0.5 - line[x])) for x in range(width)]
    outline += [(width, outline[-1][1]), (width, height), (0, height)]
    texture = fractal_noise(rng, PHOTO_SIZE, cell, stretch=(2, 1))
    image.paste(ImageOps.colorize(texture, shade, light), mask=polygon_mask(PHOTO_SIZE, outline))


def add_grass(rng, image):
    """Draw blades of grass over the foreground, far ones first."""
    draw = ImageDraw.Draw(image)
    width, height = PHOTO_SIZE
    for step in range(5200):
        depth = step / 5200
        x = rng.randrange(-10, width + 10)
        y = round(745 + depth * (height + 40 - 745)) + rng.randrange(-10, 11)
        length = rng.randrange(8, 16) + round(30 * depth)
        lean = rng.randrange(-8, 9)
        tone = rng.randrange(0, 60)
        colour = (34 + tone, 54 + tone, 22 + tone // 3)
        draw.line([(x, y), (x + lean, y - length)], fill=colour, width=1 + round(depth))


def wood(rng, stretch, shade, light):
    """Return a picture full of wood grain along the longer side of `stretch`."""
    grain = fractal_noise(rng, PHOTO_SIZE, 16, stretch)
    return ImageOps.colorize(grain, shade, light)


def add_shape(image, texture, points):
    """Paste a textured polygon with a soft shadow and a darker rim."""
    mask = polygon_mask(PHOTO_SIZE, points)
    shadow = polygon_mask(PHOTO_SIZE, [(x + 9, y + 11) for x, y in points])
    shadow = shadow.filter(ImageFilter.GaussianBlur(9))
    image.paste((14, 16, 12), mask=shadow.point(lambda value: value * 5 // 8))
    image.paste((48, 42, 36), mask=mask)
    inner = mask.filter(ImageFilter.MinFilter(7))
    image.paste(texture, mask=inner)


def add_sign_text(rng, image):
    """Paint the words on the board, in white paint that is slightly worn."""
    mask = Image.new("L", PHOTO_SIZE, 0)
    ImageDraw.Draw(mask).text((826, 532), PHOTO_SIGN_TEXT, 255, font(64), anchor="mm")
    # Paint of one brush width around the letters makes them bold.
    mask = mask.filter(ImageFilter.MaxFilter(3))
    mask = mask.rotate(0.9, Image.Resampling.BICUBIC, center=(826, 532))
    wear = fractal_noise(rng, PHOTO_SIZE, 4).point(lambda value: min(255, 200 + value // 2))
    image.paste((244, 240, 226), mask=ImageChops.multiply(mask, wear))


def add_sign(rng, image):
    """Paint the wooden sign: post, board, nails and words."""
    add_shape(image, wood(rng, (1, 12), (66, 48, 32), (120, 92, 64)), SIGN_POST)
    add_shape(image, wood(rng, (14, 1), (74, 44, 24), (124, 82, 48)), SIGN_BOARD)
    draw = ImageDraw.Draw(image)
    for x, y in SIGN_NAILS:
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=(40, 38, 36))
        draw.ellipse([x - 3, y - 4, x + 1, y], fill=(128, 124, 118))
    add_sign_text(rng, image)


def add_vignette(image):
    """Darken the corners a little, as a lens does."""
    falloff = Image.radial_gradient("L").resize(PHOTO_SIZE, Image.Resampling.BICUBIC)
    falloff = falloff.point(lambda value: 255 - value * value * 90 // (255 * 255))
    return ImageChops.multiply(image, Image.merge("RGB", [falloff] * 3))


def add_film_grain(rng, image):
    """Add film grain: soft random changes of brightness, up to about 16 levels."""
    grain = Image.blend(white_noise(rng, PHOTO_SIZE), white_noise(rng, PHOTO_SIZE), 0.5)
    grain = grain.point(lambda value: 128 + round((value - 128) / 8))
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3), scale=1, offset=-128)


def paint_photo():
    """Return the photo as seen upright."""
    rng = random.Random(PHOTO_SEED)
    image = add_sun(paint_sky(rng))
    for hill in PHOTO_HILLS:
        add_hill(rng, image, hill)
    add_sign(rng, image)
    add_grass(rng, image)
    image = image.filter(ImageFilter.GaussianBlur(0.6))
    return add_film_grain(rng, add_vignette(image))


def photo_exif():
    """Return invented camera data with an orientation and a place at sea."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = PHOTO_MAKE
    exif[ExifTags.Base.Model] = PHOTO_MODEL
    exif[ExifTags.Base.Orientation] = 6  # turn by 90 degrees clockwise to view
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSVersionID: b"\x02\x03\x00\x00",
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (0.0, 0.0, 0.0),
        ExifTags.GPS.GPSLongitudeRef: "W",
        ExifTags.GPS.GPSLongitude: (30.0, 0.0, 0.0),
    }
    return exif


def draw_photo():
    """Draw photo-rotated.jpg: stored on its side, with EXIF that says so."""
    # Pillow turns anticlockwise here; orientation 6 undoes it.
    stored = paint_photo().transpose(Image.Transpose.ROTATE_90)
    stored.save(
        FOLDER / "photo-rotated.jpg",
        quality=PHOTO_QUALITY,
        subsampling="4:2:0",
        optimize=True,
        exif=photo_exif(),
    )


# --------------------------------------------------------------------------
# qr.png
# --------------------------------------------------------------------------

QR_SIZE = (600, 680)
QR_CONTENT = "https://example.org/visiongate?ticket=4711"
QR_CAPTION = "Scan me at the gate"
QR_QUIET = 4  # light modules around the code, as the standard asks


def draw_qr():
    """Draw qr.png: a QR code with a caption beneath."""
    rows = segno.make_qr(QR_CONTENT, error="m").matrix
    module = QR_SIZE[0] // (len(rows) + 2 * QR_QUIET)
    start = (QR_SIZE[0] - module * len(rows)) // 2
    image = Image.new("L", QR_SIZE, 255)
    draw = ImageDraw.Draw(image)
    for row_number, row in enumerate(rows):
        for column, dark in enumerate(row):
            if dark:
                x, y = start + column * module, start + row_number * module
                draw.rectangle([x, y, x + module - 1, y + module - 1], fill=0)
    draw.text((QR_SIZE[0] // 2, 625), QR_CAPTION, 0, font(44), anchor="mm")
    save_png(image, "qr.png")


def main():
    """Draw all example images."""
    draw_receipt()
    draw_page()
    draw_chart()
    draw_photo()
    draw_qr()


if __name__ == "__main__":
    main()
