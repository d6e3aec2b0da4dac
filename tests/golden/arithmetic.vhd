-- arithmetic.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity arithmetic is
  port (
    x          : in  std_logic_vector(5 downto 0);
    y          : in  std_logic_vector(4 downto 0);
    z          : in  std_logic_vector(4 downto 0);
    sel        : in  std_logic;
    sum        : out std_logic_vector(6 downto 0);
    difference : out std_logic_vector(6 downto 0);
    product    : out std_logic_vector(10 downto 0);
    three      : out std_logic_vector(7 downto 0);
    rounded    : out std_logic_vector(3 downto 0);
    held       : out std_logic_vector(2 downto 0);
    wrapped    : out std_logic_vector(3 downto 0);
    magnitude  : out std_logic_vector(5 downto 0);
    positive_n : out std_logic_vector(4 downto 0);
    least      : out std_logic_vector(5 downto 0);
    most       : out std_logic_vector(4 downto 0);
    chosen     : out std_logic_vector(5 downto 0);
    both       : out std_logic_vector(4 downto 0);
    either     : out std_logic_vector(4 downto 0);
    one        : out std_logic_vector(4 downto 0);
    none       : out std_logic_vector(4 downto 0);
    joined     : out std_logic_vector(5 downto 0);
    middle     : out std_logic_vector(2 downto 0);
    same       : out std_logic;
    before_n   : out std_logic
  );
end entity;

architecture rtl of arithmetic is

  -- The low bits, where numeric_std's resize would keep the sign.
  function truncate(value : signed; width : positive) return signed is
    alias bits : signed(value'length - 1 downto 0) is value;
  begin
    return bits(width - 1 downto 0);
  end function;
  attribute use_dsp : string;
  attribute syn_multstyle : string;

  signal x_i   : signed(5 downto 0);
  signal y_i   : unsigned(4 downto 0);
  signal z_i   : unsigned(4 downto 0);
  signal sel_i : unsigned(0 downto 0);

  -- sums
  signal sum_2        : signed(6 downto 0);
  signal difference_2 : signed(6 downto 0);

  -- products
  signal product_2 : signed(10 downto 0);
  attribute use_dsp of product_2 : signal is "no";
  attribute syn_multstyle of product_2 : signal is "logic";

  -- sums
  signal negative : signed(6 downto 0);
  signal t1       : unsigned(7 downto 0);
  signal t2       : unsigned(7 downto 0);
  signal t3       : unsigned(7 downto 0);
  signal three_2  : signed(7 downto 0);

  -- conversions
  signal t4        : unsigned(4 downto 0);
  signal t5        : signed(4 downto 0);
  signal rounded_2 : signed(3 downto 0);
  signal t6        : unsigned(2 downto 0);
  signal held_2    : unsigned(2 downto 0);
  signal t7        : signed(6 downto 0);
  signal wrapped_2 : signed(3 downto 0);

  -- signs
  signal magnitude_2  : unsigned(5 downto 0);
  signal positive_n_2 : unsigned(4 downto 0);

  -- choices
  signal t8       : unsigned(0 downto 0);
  signal least_2  : signed(5 downto 0);
  signal most_2   : unsigned(4 downto 0);
  signal chosen_2 : signed(5 downto 0);

  -- bits
  signal both_2   : unsigned(4 downto 0);
  signal either_2 : unsigned(4 downto 0);
  signal one_2    : unsigned(4 downto 0);
  signal none_2   : unsigned(4 downto 0);
  signal joined_2 : unsigned(5 downto 0);
  signal middle_2 : unsigned(2 downto 0);

  -- choices
  signal same_2     : unsigned(0 downto 0);
  signal t9         : unsigned(0 downto 0);
  signal before_n_2 : unsigned(0 downto 0);
begin
  x_i      <= signed(x);
  y_i      <= unsigned(y);
  z_i      <= unsigned(z);
  sel_i(0) <= sel;

  -- sums
  sum_2        <= resize(x_i, 7) + signed(resize(y_i, 7));
  difference_2 <= resize(x_i, 7) - signed(resize(y_i, 7));

  -- products
  product_2 <= truncate(x_i * signed(resize(y_i, 6)), 11);

  -- sums
  negative <= -resize(x_i, 7);
  t1       <= not resize(y_i, 8);
  t2       <= (unsigned(resize(x_i, 8)) and t1) or (unsigned(resize(negative, 8)) and (unsigned(resize(x_i,
      8)) or t1));
  t3       <= (t2(6 downto 0) & unsigned'("1")) + ((unsigned(resize(x_i, 8)) xor t1) xor
      unsigned(resize(negative, 8)));
  three_2  <= signed(t3);

  -- conversions
  t4        <= resize(unsigned(x_i(1 downto 1)) and (unsigned(x_i(0 downto 0)) or unsigned(x_i(2 downto 2))),
      5);
  t5        <= resize(signed(x_i(5 downto 2)), 5) + signed(t4);
  rounded_2 <= to_signed(7, 4) when ((not unsigned(t5(4 downto 4))) and unsigned(t5(3 downto 3))) = "1" else
      signed(t5(3 downto 0));
  t6        <= to_unsigned(7, 3) when ((not unsigned(x_i(5 downto 5))) and unsigned(x_i(4 downto 4))) = "1"
      else unsigned(x_i(3 downto 1));
  held_2    <= to_unsigned(0, 3) when x_i(5) = '1' else t6;
  t7        <= resize(signed(sum_2(6 downto 1)), 7) + signed(resize(unsigned(sum_2(0 downto 0)), 7));
  wrapped_2 <= signed(t7(3 downto 0));

  -- signs
  magnitude_2  <= to_unsigned(0, 6) - unsigned(x_i) when x_i(5) = '1' else unsigned(x_i);
  positive_n_2 <= to_unsigned(0, 5) when x_i(5) = '1' else unsigned(x_i(4 downto 0));

  -- choices
  t8       <= "1" when x_i < signed(resize(y_i, 6)) else "0";
  least_2  <= x_i when t8(0) = '1' else signed(resize(y_i, 6));
  most_2   <= y_i when t8(0) = '1' else unsigned(x_i(4 downto 0));
  chosen_2 <= x_i when sel_i(0) = '1' else signed(resize(y_i, 6));

  -- bits
  both_2   <= y_i and z_i;
  either_2 <= y_i or z_i;
  one_2    <= y_i xor z_i;
  none_2   <= not y_i;
  joined_2 <= y_i & sel_i;
  middle_2 <= unsigned(x_i(4 downto 2));

  -- choices
  same_2     <= "1" when x_i = signed(resize(y_i, 6)) else "0";
  t9         <= "1" when x_i > signed(resize(y_i, 6)) else "0";
  before_n_2 <= not t9;

  sum        <= std_logic_vector(sum_2);
  difference <= std_logic_vector(difference_2);
  product    <= std_logic_vector(product_2);
  three      <= std_logic_vector(three_2);
  rounded    <= std_logic_vector(rounded_2);
  held       <= std_logic_vector(held_2);
  wrapped    <= std_logic_vector(wrapped_2);
  magnitude  <= std_logic_vector(magnitude_2);
  positive_n <= std_logic_vector(positive_n_2);
  least      <= std_logic_vector(least_2);
  most       <= std_logic_vector(most_2);
  chosen     <= std_logic_vector(chosen_2);
  both       <= std_logic_vector(both_2);
  either     <= std_logic_vector(either_2);
  one        <= std_logic_vector(one_2);
  none       <= std_logic_vector(none_2);
  joined     <= std_logic_vector(joined_2);
  middle     <= std_logic_vector(middle_2);
  same       <= same_2(0);
  before_n   <= before_n_2(0);
end architecture;
