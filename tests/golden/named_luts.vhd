-- named_luts.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity named_luts is
  port (
    x : in  std_logic_vector(5 downto 0);
    y : out std_logic_vector(3 downto 0);
    p : out std_logic
  );
end entity;

architecture rtl of named_luts is

  type code_t is array (0 to 15) of std_logic_vector(1 downto 0);
  constant code : code_t := (
    "00", "00", "01", "01", "01", "10", "10", "10", "10", "11", "11", "11", "11", "11", "00", "01"
  );

  type inner_t is array (0 to 15) of std_logic_vector(3 downto 0);
  constant inner : inner_t := (
    4x"3", 4x"9", 4x"5", 4x"f", 4x"2", 4x"6", 4x"7", 4x"8",
    4x"b", 4x"a", 4x"1", 4x"0", 4x"4", 4x"d", 4x"e", 4x"c"
  );

  type parity_t is array (0 to 63) of std_logic_vector(0 downto 0);
  constant parity : parity_t := (
    "0", "1", "1", "0", "1", "0", "0", "1", "1", "0", "0", "1", "0", "1", "1", "0",
    "1", "0", "0", "1", "0", "1", "1", "0", "0", "1", "1", "0", "1", "0", "0", "1",
    "1", "0", "0", "1", "0", "1", "1", "0", "0", "1", "1", "0", "1", "0", "0", "1",
    "0", "1", "1", "0", "1", "0", "0", "1", "1", "0", "0", "1", "0", "1", "1", "0"
  );

  signal x_i : unsigned(5 downto 0);

  signal high : unsigned(3 downto 0);
  signal c    : unsigned(1 downto 0);
  signal low  : unsigned(1 downto 0);
  signal k    : unsigned(3 downto 0);
  signal y_2  : signed(3 downto 0);
  signal p_2  : unsigned(0 downto 0);
begin
  x_i <= unsigned(x);

  high <= x_i(5 downto 2);
  c    <= unsigned(code(to_integer(high)));
  low  <= x_i(1 downto 0);
  k    <= c & low;
  y_2  <= signed(inner(to_integer(k)));
  p_2  <= unsigned(parity(to_integer(x_i)));

  y <= std_logic_vector(y_2);
  p <= p_2(0);
end architecture;
