-- registers.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity registers is
  port (
    clk       : in  std_logic;
    ce        : in  std_logic;
    x         : in  std_logic_vector(3 downto 0);
    y         : in  std_logic_vector(3 downto 0);
    valid_in  : in  std_logic;
    valid_out : out std_logic;
    s         : out std_logic_vector(4 downto 0);
    late      : out std_logic_vector(3 downto 0)
  );
end entity;

architecture rtl of registers is

  signal x_i        : signed(3 downto 0);
  signal y_i        : signed(3 downto 0);
  signal valid_in_i : unsigned(0 downto 0);

  -- layer
  signal s_2 : signed(4 downto 0);
  signal r1  : signed(4 downto 0);
  signal r2  : signed(4 downto 0);
  signal r3  : signed(4 downto 0);

  signal d1          : signed(3 downto 0);
  signal d2          : signed(3 downto 0);
  signal d3          : signed(3 downto 0);
  signal valid_in_d1 : unsigned(0 downto 0) := unsigned'("0");
  signal valid_in_d2 : unsigned(0 downto 0) := unsigned'("0");
  signal valid_in_d3 : unsigned(0 downto 0) := unsigned'("0");
begin
  x_i           <= signed(x);
  y_i           <= signed(y);
  valid_in_i(0) <= valid_in;

  -- layer
  s_2 <= resize(x_i, 5) + resize(y_i, 5);
  process (clk)
  begin
    if rising_edge(clk) then
      if ce = '1' then
        r1 <= s_2;
        r2 <= r1;
        r3 <= r2;
      end if;
    end if;
  end process;

  process (clk)
  begin
    if rising_edge(clk) then
      if ce = '1' then
        d1          <= x_i;
        d2          <= d1;
        d3          <= d2;
        valid_in_d1 <= valid_in_i;
        valid_in_d2 <= valid_in_d1;
        valid_in_d3 <= valid_in_d2;
      end if;
    end if;
  end process;

  valid_out <= valid_in_d3(0);
  s         <= std_logic_vector(r3);
  late      <= std_logic_vector(d3);
end architecture;
